package edgegen.kit

import java.io.File

/** The package cannot be used by this kit; [message] says why, and what to do. */
class PackageException(message: String) : Exception(message)

/**
 * A network of the package: its model files, in the order in which they run.
 *
 * A call takes [samples] of its first input, any number where that is null.
 */
class Component(
    val name: String,
    val role: String,
    val inputs: Set<String>,
    val samples: Int?,
    val parts: List<File>,
    val firstOutput: String,
)

/**
 * The folder that `edgegen package --target tflite` writes, as far as Stable Diffusion needs it.
 *
 * [width] and [height] are pixels; [steps] and [guidance] are what the model is used with unless
 * told. Of a package for several chips' NPUs, [contexts] is where those of one lie in the folder of
 * each component.
 */
class PackageFolder private constructor(
    val folder: File,
    manifest: Map<String, Any?>,
    private val contexts: String,
) {
    private val generation = Json.asObject(manifest["generation"])
    private val components = Json.asList(manifest["components"]).map { packaged ->
        readComponent(Json.asObject(packaged))
    }

    val width: Int = number("width").toInt()
    val height: Int = number("height").toInt()
    val latentChannels: Int = number("latent_channels").toInt()
    val vaeScaleFactor: Int = number("vae_scale_factor", 8.0).toInt()
    val scalingFactor: Float = number("scaling_factor", 1.0).toFloat()
    val shiftFactor: Float = number("shift_factor", 0.0).toFloat()
    val steps: Int = number("steps", 25.0).toInt()
    val guidance: Float = number("guidance", 7.5).toFloat()
    val guidanceStart: Double = number("guidance_start", 0.0)
    val guidanceStop: Double = number("guidance_stop", 1.0)

    /** Tokens of a prompt, where the tokenizer's own files do not say. */
    val textLength: Int? = (generation["text_length"] as? Double)?.toInt()

    val denoiser: Component get() = component("denoiser")
    val textEncoder: Component get() = component("text_encoder")
    val decoder: Component get() = component("decoder")

    /** Returns the component of a role. Throws PackageException where the package lacks it. */
    private fun component(role: String): Component =
        components.firstOrNull { it.role == role } ?: throw PackageException(
            "$folder has no $role; it has ${components.joinToString { it.name }}.",
        )

    /** Reads scheduler/scheduler_config.json. */
    fun schedulerConfig(): Map<String, Any?> =
        Json.parseObject(folder.resolve("scheduler/scheduler_config.json").readText())

    private fun number(key: String, default: Double? = null): Double =
        generation[key] as? Double ?: default
            ?: throw PackageException("The manifest of $folder gives no $key. Build it again.")

    private fun readComponent(packaged: Map<String, Any?>): Component {
        val spec = Json.asObject(packaged["spec"])
        val first = Json.asObject(Json.asList(spec["outputs"]).first())
        val inputs = Json.asList(spec["inputs"]).map { Json.asObject(it) }
        val samples = (inputs.firstOrNull()?.get("shape") as? List<*>)?.firstOrNull() as? Double
        return Component(
            name = spec["name"] as String,
            role = spec["role"] as String,
            inputs = inputs.map { it["name"] as String }.toSet(),
            samples = samples?.toInt(),
            parts = parts(inside(ofChip(packaged["path"] as String))),
            firstOutput = first["name"] as String,
        )
    }

    /** Whether the denoiser is two graphs, one of them for the steps between whole ones. */
    private val keepsFeatures: Boolean get() = components.any { it.role == "shallow_denoiser" }

    /** Returns whether the kit's one loop draws what a pipeline with these facts draws. */
    private fun isDrawnFrom(facts: Map<String, Any?>): Boolean =
        facts["guidance"] == "classifier-free" &&
            facts["takes_text"] == true &&
            "noise" in Json.asList(facts["starts"]) &&
            components.count { it.role == "text_encoder" } == 1 &&
            denoiser.inputs == DENOISER_INPUTS

    /** Returns model.tflite and what stands beside it: model.2.tflite, model.3.tflite, … */
    private fun parts(first: File): List<File> {
        if (!first.isFile) throw PackageException("$first is missing. Copy the package again.")
        val more = generateSequence(2) { it + 1 }
            .map { first.resolveSibling("${first.nameWithoutExtension}.$it.${first.extension}") }
            .takeWhile { it.isFile }
        return listOf(first) + more
    }

    private fun ofChip(path: String): String = if (contexts.isEmpty()) {
        path
    } else {
        "${path.substringBeforeLast("/")}/$contexts/${path.substringAfterLast("/")}"
    }

    /** Returns a file of the package. Throws PackageException where a path leaves the folder. */
    private fun inside(relative: String): File {
        val path = folder.resolve(relative).canonicalFile
        if (!path.startsWith(folder.canonicalFile)) {
            throw PackageException("The path $relative leaves the package $folder. Do not use it.")
        }
        return path
    }

    companion object {
        private const val SCHEMA_VERSION = 2.0
        private const val SAMPLES = 1
        private val DENOISER_INPUTS = setOf("sample", "timestep", "encoder_hidden_states")

        /**
         * Opens a package.
         *
         * Throws PackageException where it is none, or one of a pipeline that this kit does not
         * draw.
         */
        fun open(folder: File, contexts: String = ""): PackageFolder {
            val file = folder.resolve("edgegen.json")
            if (!file.isFile) throw PackageException("$file is missing. Copy the package again.")
            val manifest = Json.parseObject(file.readText())
            if (manifest["schema_version"] != SCHEMA_VERSION) {
                throw PackageException("$file has a schema that this kit does not read.")
            }
            val opened = PackageFolder(folder, manifest, contexts)
            if (opened.keepsFeatures) {
                throw PackageException(
                    "This package keeps features between steps, and this kit computes each step " +
                        "whole. Package the model without --cache-interval.",
                )
            }
            if (!opened.isDrawnFrom(Json.asObject(manifest["facts"]))) {
                throw PackageException(
                    "This kit draws as Stable Diffusion does, from a prompt and one text encoder, " +
                        "and this package is of the family ${manifest["family"]}.",
                )
            }
            val samples = opened.denoiser.samples
            if (samples != null && samples != SAMPLES) {
                throw PackageException(
                    "The denoiser of this package takes $samples samples a call, and this kit " +
                        "feeds $SAMPLES. Package the model again, without a profile or with one " +
                        "whose runtime has denoiser_batch = $SAMPLES.",
                )
            }
            return opened
        }
    }
}
