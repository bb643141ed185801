import CoreGraphics
import CoreML
import Foundation
@preconcurrency import StableDiffusion

/// What is drawn. Steps and guidance are the package's own unless told.
public struct DrawRequest: Sendable {
    public var prompt: String
    public var negativePrompt: String
    public var seed: UInt32
    public var steps: Int?
    public var guidance: Float?

    /// Another scheduler than the package's, by the app's own choice: the picture is then another
    /// than the one of `edgegen run`.
    public var scheduler: StableDiffusionScheduler?

    public init(
        _ prompt: String,
        negativePrompt: String = "",
        seed: UInt32 = 0,
        steps: Int? = nil,
        guidance: Float? = nil,
        scheduler: StableDiffusionScheduler? = nil
    ) {
        self.prompt = prompt
        self.negativePrompt = negativePrompt
        self.seed = seed
        self.steps = steps
        self.guidance = guidance
        self.scheduler = scheduler
    }
}

/// What happens while a picture is drawn.
public enum DrawEvent: @unchecked Sendable {
    case step(Int, of: Int)
    case picture(CGImage)
}

public enum PainterError: LocalizedError {
    case unsupportedFamily(String)
    case unsupportedSamples(Int)
    case unsupportedScheduler(String)
    case nothingDrawn

    public var errorDescription: String? {
        switch self {
        case .unsupportedFamily(let family):
            return "Apple's pipelines do not draw with a package of the family \(family)."
        case .unsupportedSamples(let samples):
            let fed = PackageFacts.samplesFedByApple
            return "The package's denoiser takes \(samples) samples a call, and Apple's pipelines "
                + "feed \(fed). Package the model again, without a profile or with one whose "
                + "runtime has denoiser_batch = \(fed)."
        case .unsupportedScheduler(let scheduler):
            return "The package draws with \(scheduler), which Apple's package does not have. "
                + "Package the model with another, or ask for one by name (DrawRequest.scheduler)."
        case .nothingDrawn:
            return "The pipeline gave no picture."
        }
    }
}

/// Draws with a package, one picture at a time, away from the main thread.
///
/// The models are loaded when they are needed and unloaded afterwards: a phone holds the largest of
/// them alone. The first latents come from torch's random numbers, as in `edgegen run`.
public actor Painter {
    private let facts: PackageFacts
    private let scheduler: PackageScheduler
    private let pipeline: any StableDiffusionPipelineProtocol

    /// Prepares the models in `resources`, the folder that `assemble.sh` made.
    public init(resources: URL, computeUnits: MLComputeUnits = .cpuAndNeuralEngine) throws {
        facts = try PackageFacts(resources: resources)
        scheduler = try PackageScheduler(resources: resources)
        let configuration = MLModelConfiguration()
        configuration.computeUnits = computeUnits
        guard facts.isDrawnByApple else {
            throw PainterError.unsupportedFamily(facts.family)
        }
        if let samples = facts.samplesPerCall, samples != PackageFacts.samplesFedByApple {
            throw PainterError.unsupportedSamples(samples)
        }
        if facts.isXL {
            pipeline = try StableDiffusionXLPipeline(
                resourcesAt: resources,
                configuration: configuration,
                reduceMemory: true
            )
        } else {
            pipeline = try StableDiffusionPipeline(
                resourcesAt: resources,
                controlNet: [],
                configuration: configuration,
                disableSafety: true,
                reduceMemory: true
            )
        }
        try pipeline.loadResources()
    }

    /// Draws a picture; ending the stream's task stops it after the step that is running.
    public nonisolated func draw(_ request: DrawRequest) -> AsyncThrowingStream<DrawEvent, Error> {
        AsyncThrowingStream { continuation in
            let task = Task.detached(priority: .userInitiated) {
                do {
                    let picture = try await self.picture(request) { step, count in
                        continuation.yield(.step(step, of: count))
                        return !Task.isCancelled
                    }
                    if let picture {
                        continuation.yield(.picture(picture))
                    }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    /// Returns the picture, or nothing where `progress` said to stop.
    private func picture(
        _ request: DrawRequest,
        progress: (Int, Int) -> Bool
    ) throws -> CGImage? {
        var configuration = PipelineConfiguration(prompt: request.prompt)
        configuration.negativePrompt = request.negativePrompt
        configuration.seed = request.seed
        let steps = request.steps ?? facts.generation.steps
        configuration.stepCount = steps
        configuration.guidanceScale = request.guidance ?? facts.generation.guidance
        configuration.disableSafety = true
        configuration.schedulerType =
            try request.scheduler ?? scheduler.matching(steps: steps, isXL: facts.isXL)
        configuration.rngType = .torchRNG
        configuration.encoderScaleFactor = facts.generation.scalingFactor
        configuration.decoderScaleFactor = facts.generation.scalingFactor
        configuration.originalSize = Float(facts.generation.width)
        configuration.targetSize = Float(facts.generation.width)

        var stopped = false
        let images = try pipeline.generateImages(configuration: configuration) { state in
            let goesOn = progress(state.step + 1, state.stepCount)
            stopped = !goesOn
            return goesOn
        }
        if stopped {
            return nil
        }
        guard let image = images.first, let image else {
            throw PainterError.nothingDrawn
        }
        return image
    }
}
