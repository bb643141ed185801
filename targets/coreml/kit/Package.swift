// swift-tools-version:5.9
import PackageDescription

let package = Package(
    name: "EdgegenKit",
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: [
        .library(name: "EdgegenKit", targets: ["EdgegenKit"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/ml-stable-diffusion", from: "1.1.0"),
    ],
    targets: [
        .target(
            name: "EdgegenKit",
            dependencies: [.product(name: "StableDiffusion", package: "ml-stable-diffusion")]
        ),
        .executableTarget(name: "Example", dependencies: ["EdgegenKit"]),
    ]
)
