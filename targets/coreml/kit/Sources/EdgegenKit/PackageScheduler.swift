import Foundation
import StableDiffusion

/// The scheduler that a package draws with, as far as Apple's package has it.
///
/// Apple's schedulers take a number of steps and nothing else. Each is the diffusers class of its
/// name with one set of options, which is held against the package's here: with others it would
/// draw another picture.
public struct PackageScheduler {
    public let name: String
    private let options: [String: Any]

    /// Reads `scheduler_config.json` from the folder that `assemble.sh` made.
    public init(resources: URL) throws {
        let file = resources.appending(path: "scheduler_config.json")
        var text = try String(contentsOf: file, encoding: .utf8)
        // Python writes it so, diffusers' DPM-Solver among its defaults; JSON has no such number.
        text = text.replacingOccurrences(of: ": -Infinity", with: ": null")
        let object = try JSONSerialization.jsonObject(with: Data(text.utf8))
        options = object as? [String: Any] ?? [:]
        name = options["_class_name"] as? String ?? "no scheduler"
    }

    /// Returns Apple's scheduler that draws what the package's does in so many steps.
    public func matching(steps: Int, isXL: Bool) throws -> StableDiffusionScheduler {
        switch name {
        case "PNDMScheduler":
            try check("skip_prk_steps", is: true, otherwise: false)
            try check("set_alpha_to_one", is: false, otherwise: false)
            try check("timestep_spacing", is: "leading", otherwise: "leading")
            if isXL {  // Stable Diffusion's own pipeline sets it to 1, whatever the package says
                try check("steps_offset", is: 1, otherwise: 0)
            }
            try checkNoise()
            guard steps >= 2 else { throw refusal("\(steps) steps") }
            return .pndmScheduler
        case "DPMSolverMultistepScheduler":
            try check("algorithm_type", is: "dpmsolver++", otherwise: "dpmsolver++")
            try check("solver_type", is: "midpoint", otherwise: "midpoint")
            try check("solver_order", is: 2, otherwise: 2)
            try check("timestep_spacing", is: "linspace", otherwise: "linspace")
            try check("final_sigmas_type", is: "sigma_min", otherwise: "zero")
            for option in ["euler_at_final", "use_lu_lambdas", "use_flow_sigmas", "thresholding"] {
                try check(option, is: false, otherwise: false)
            }
            try checkNoise()
            // With fewer, Apple's takes the first order one step earlier than diffusers'.
            guard steps >= 15 else { throw refusal("fewer than 15 steps") }
            return .dpmSolverMultistepScheduler
        default:
            throw PainterError.unsupportedScheduler(name)
        }
    }

    /// Checks what Apple's schedulers take for granted of the model.
    private func checkNoise() throws {
        try check("num_train_timesteps", is: 1000, otherwise: 1000)
        try check("beta_schedule", is: "scaled_linear", otherwise: "linear")
        try check("beta_start", is: 0.00085, otherwise: 0.0001)
        try check("beta_end", is: 0.012, otherwise: 0.02)
        try check("prediction_type", is: "epsilon", otherwise: "epsilon")
        for option in [
            "rescale_betas_zero_snr", "use_karras_sigmas", "use_exponential_sigmas",
            "use_beta_sigmas", "trained_betas", "lambda_min_clipped",
        ] {
            try check(option, is: false, otherwise: false)
        }
    }

    /// Refuses an option that is not `wanted`; where it is missing, it is `otherwise`.
    private func check<Value: Equatable>(
        _ option: String,
        is wanted: Value,
        otherwise: Value
    ) throws {
        let given: Any = options[option].flatMap { $0 is NSNull ? nil : $0 } ?? otherwise
        guard let value = given as? Value, value == wanted else {
            throw refusal("\(option)=\(given)")
        }
    }

    private func refusal(_ what: String) -> PainterError {
        .unsupportedScheduler("\(name) with \(what)")
    }
}
