// Draws an image from an edgegen package with OpenVINO GenAI.
//
//     text2image PACKAGE "a red fox" --seed 1 --steps 20 --size 512x512 -o fox.png
//
// Ctrl-C stops it before the next step; --cancel-after does the same after a number of steps.
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <openvino/genai/image_generation/text2image_pipeline.hpp>

#include "png.hpp"

namespace {

constexpr int kCancelled = 3;

std::atomic<bool> stop_asked{false};

struct Options {
    std::filesystem::path package;
    std::string prompt;
    std::string device = "CPU";
    std::filesystem::path output = "image.png";
    std::size_t seed = 0;
    std::optional<std::size_t> steps;
    std::optional<std::size_t> cancel_after;
    std::optional<std::pair<std::int64_t, std::int64_t>> size;
};

// Reads the command line. Throws std::invalid_argument for what it does not know.
Options read_options(int argc, char** argv) {
    if (argc < 3) {
        throw std::invalid_argument(
            "usage: text2image PACKAGE PROMPT [--seed N] [--steps N] [--size WIDTHxHEIGHT] "
            "[--device NAME] [--cancel-after N] [-o FILE]");
    }
    Options options;
    options.package = argv[1];
    options.prompt = argv[2];
    for (int index = 3; index < argc; index += 2) {
        const std::string name = argv[index];
        if (index + 1 == argc) {
            throw std::invalid_argument(name + " needs a value");
        }
        const std::string value = argv[index + 1];
        if (name == "--seed") {
            options.seed = std::stoull(value);
        } else if (name == "--steps") {
            options.steps = std::stoull(value);
        } else if (name == "--size") {
            std::size_t end = 0;
            const std::int64_t width = std::stoll(value, &end);
            if (end + 1 >= value.size() || value[end] != 'x') {
                throw std::invalid_argument("--size is WIDTHxHEIGHT, not " + value);
            }
            options.size = {width, std::stoll(value.substr(end + 1))};
        } else if (name == "--device") {
            options.device = value;
        } else if (name == "--cancel-after") {
            options.cancel_after = std::stoull(value);
        } else if (name == "-o") {
            options.output = value;
        } else {
            throw std::invalid_argument("unknown option " + name);
        }
    }
    return options;
}

// Returns the exit status.
int draw(const Options& options) {
    ov::genai::Text2ImagePipeline pipeline(options.package, options.device);
    // What is not said here is what the package says.
    ov::AnyMap properties{ov::genai::rng_seed(options.seed)};
    if (options.steps) {
        properties.insert(ov::genai::num_inference_steps(*options.steps));
    }
    if (options.size) {
        properties.insert(ov::genai::width(options.size->first));
        properties.insert(ov::genai::height(options.size->second));
    }
    const auto progress = [&options](std::size_t step, std::size_t of, ov::Tensor&) {
        std::cerr << "step " << step + 1 << " of " << of << '\n';
        if (options.cancel_after == step + 1) {
            stop_asked = true;
        }
        return stop_asked.load();
    };
    properties.insert(
        ov::genai::callback(std::function<bool(std::size_t, std::size_t, ov::Tensor&)>(progress)));

    const ov::Tensor images = pipeline.generate(options.prompt, properties);
    if (stop_asked) {
        std::cerr << "cancelled\n";
        return kCancelled;
    }
    const ov::Shape shape = images.get_shape();  // (images, height, width, 3)
    write_png(options.output, images.data<const std::uint8_t>(), shape[2], shape[1]);
    std::cout << options.output.string() << '\n';
    return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGINT, [](int) { stop_asked = true; });
    try {
        return draw(read_options(argc, argv));
    } catch (const std::exception& error) {
        std::cerr << error.what() << '\n';
        return EXIT_FAILURE;
    }
}
