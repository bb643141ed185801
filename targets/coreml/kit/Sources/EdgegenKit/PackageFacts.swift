import Foundation

/// What an app has to know of a package: the part of `edgegen.json` that says how to draw with it.
public struct PackageFacts: Decodable {
    public struct Generation: Decodable {
        public let width: Int
        public let height: Int
        public let scalingFactor: Float
        public let shiftFactor: Float
        public let steps: Int
        public let guidance: Float

        enum CodingKeys: String, CodingKey {
            case width, height, steps, guidance
            case scalingFactor = "scaling_factor"
            case shiftFactor = "shift_factor"
        }
    }

    public let family: String
    public let generation: Generation

    /// Whether the package is of Stable Diffusion XL, which has a pipeline of its own.
    public var isXL: Bool { family.hasPrefix("stable-diffusion-xl") }

    /// Reads the facts from the folder that `assemble.sh` made.
    public init(resources: URL) throws {
        let data = try Data(contentsOf: resources.appending(path: "edgegen.json"))
        self = try JSONDecoder().decode(PackageFacts.self, from: data)
    }
}
