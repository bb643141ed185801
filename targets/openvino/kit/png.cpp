#include "png.hpp"

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kLargestStoredBlock = 65535;  // RFC 1951, 3.2.4

void append_big_endian(Bytes& bytes, std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) {
        bytes.push_back(static_cast<std::uint8_t>(value >> shift));
    }
}

// The checksum of PNG's annex D.
std::uint32_t crc32(const Bytes& bytes) {
    std::uint32_t crc = 0xffffffffU;
    for (const std::uint8_t byte : bytes) {
        crc ^= byte;
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc & 1U) != 0 ? 0xedb88320U ^ (crc >> 1) : crc >> 1;
        }
    }
    return ~crc;
}

// The checksum of zlib (RFC 1950, 8.2).
std::uint32_t adler32(const Bytes& bytes) {
    std::uint32_t low = 1;
    std::uint32_t high = 0;
    for (const std::uint8_t byte : bytes) {
        low = (low + byte) % 65521;
        high = (high + low) % 65521;
    }
    return high << 16 | low;
}

// A zlib stream of stored blocks: an app that wants small files has a compressor of its own.
Bytes stored(const Bytes& raw) {
    Bytes stream{0x78, 0x01};
    for (std::size_t start = 0; start < raw.size(); start += kLargestStoredBlock) {
        const std::size_t size = std::min(kLargestStoredBlock, raw.size() - start);
        const auto length = static_cast<std::uint16_t>(size);
        const auto complement = static_cast<std::uint16_t>(~length);
        stream.push_back(start + size == raw.size() ? 1 : 0);
        for (const std::uint16_t value : {length, complement}) {
            stream.push_back(static_cast<std::uint8_t>(value & 0xff));
            stream.push_back(static_cast<std::uint8_t>(value >> 8));
        }
        const auto from = raw.begin() + static_cast<std::ptrdiff_t>(start);
        stream.insert(stream.end(), from, from + static_cast<std::ptrdiff_t>(size));
    }
    append_big_endian(stream, adler32(raw));
    return stream;
}

void append_chunk(Bytes& file, const std::string& name, const Bytes& data) {
    Bytes named(name.begin(), name.end());
    named.insert(named.end(), data.begin(), data.end());
    append_big_endian(file, static_cast<std::uint32_t>(data.size()));
    file.insert(file.end(), named.begin(), named.end());
    append_big_endian(file, crc32(named));
}

}  // namespace

void write_png(const std::filesystem::path& path, const std::uint8_t* pixels, std::size_t width,
               std::size_t height) {
    Bytes rows;
    for (std::size_t row = 0; row < height; ++row) {
        rows.push_back(0);  // no filter
        rows.insert(rows.end(), pixels + row * width * 3, pixels + (row + 1) * width * 3);
    }
    Bytes header;
    append_big_endian(header, static_cast<std::uint32_t>(width));
    append_big_endian(header, static_cast<std::uint32_t>(height));
    for (const std::uint8_t byte : {8, 2, 0, 0, 0}) {
        header.push_back(byte);
    }
    Bytes file{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    append_chunk(file, "IHDR", header);
    append_chunk(file, "IDAT", stored(rows));
    append_chunk(file, "IEND", {});
    std::ofstream stream(path, std::ios::binary);
    stream.write(reinterpret_cast<const char*>(file.data()),
                 static_cast<std::streamsize>(file.size()));
    if (!stream.flush()) {
        throw std::runtime_error("cannot write " + path.string());
    }
}
