// Writes PNG files (ISO/IEC 15948) without a library, and without compressing them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

// Writes an image of 8-bit RGB pixels, row by row. Throws std::runtime_error where it cannot.
void write_png(const std::filesystem::path& path, const std::uint8_t* pixels, std::size_t width,
               std::size_t height);
