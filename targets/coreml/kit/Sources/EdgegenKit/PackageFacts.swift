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
        let guidanceStart: Float?
        let guidanceStop: Float?

        /// Whether every step is guided; Apple's pipelines cannot leave guidance out of some.
        var isGuidedThroughout: Bool { (guidanceStart ?? 0) == 0 && (guidanceStop ?? 1) == 1 }

        enum CodingKeys: String, CodingKey {
            case width, height, steps, guidance
            case guidanceStart = "guidance_start"
            case guidanceStop = "guidance_stop"
            case scalingFactor = "scaling_factor"
            case shiftFactor = "shift_factor"
        }
    }

    /// What the pipeline takes, and how a picture can begin, the usual way first.
    public struct Pipeline: Decodable {
        public let guidance: String
        public let takesText: Bool
        public let starts: [String]

        enum CodingKeys: String, CodingKey {
            case guidance, starts
            case takesText = "takes_text"
        }
    }

    /// An axis of a tensor: its extent, or nothing where it is open and the manifest has a name.
    struct Axis: Decodable {
        let extent: Int?

        init(from decoder: any Decoder) throws {
            extent = try? decoder.singleValueContainer().decode(Int.self)
        }
    }

    struct Tensor: Decodable {
        let name: String
        let shape: [Axis]
    }

    struct Specification: Decodable {
        let role: String
        let inputs: [Tensor]
    }

    struct Component: Decodable {
        let spec: Specification
    }

    public let family: String
    public let facts: Pipeline
    public let generation: Generation
    let components: [Component]

    /// Whether the denoiser takes the picture's size and the pooled text, as Stable Diffusion XL's
    /// does, which has a pipeline of its own.
    public var isXL: Bool { denoiserInputs == Self.inputs.union(Self.inputsOfXL) }

    /// Whether the denoiser keeps features between steps. It has a second output then, and Apple's
    /// pipelines take whichever of two comes first for the noise.
    var keepsFeatures: Bool { components.contains { $0.spec.role == "shallow_denoiser" } }

    /// How many samples the denoiser takes a call; nothing where that is open.
    var samplesPerCall: Int? {
        denoiser?.inputs.first(where: { $0.name == "sample" })?.shape.first?.extent
    }

    /// How many samples Apple's pipelines feed a call: that of the prompt and the empty one's.
    static let samplesFedByApple = 2

    /// Whether one of Apple's pipelines draws with the package.
    var isDrawnByApple: Bool {
        !keepsFeatures && facts.guidance == "classifier-free" && facts.takesText && facts.starts.contains("noise")
            && generation.isGuidedThroughout && (isXL || denoiserInputs == Self.inputs)
    }

    private static let inputs: Set = ["sample", "timestep", "encoder_hidden_states"]
    private static let inputsOfXL: Set = ["text_embeds", "time_ids"]

    private var denoiser: Specification? {
        components.first { $0.spec.role == "denoiser" }?.spec
    }

    private var denoiserInputs: Set<String> {
        Set(denoiser?.inputs.map(\.name) ?? [])
    }

    /// Reads the facts from the folder that `assemble.sh` made.
    public init(resources: URL) throws {
        let data = try Data(contentsOf: resources.appending(path: "edgegen.json"))
        self = try JSONDecoder().decode(PackageFacts.self, from: data)
    }
}
