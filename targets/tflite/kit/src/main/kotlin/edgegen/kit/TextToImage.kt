package edgegen.kit

import kotlin.math.min
import kotlin.math.round
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow

/** What is drawn; null means what the package says. */
data class Request(
    val prompt: String,
    val negativePrompt: String = "",
    val seed: Long = 0,
    val steps: Int? = null,
    val guidance: Float? = null,
)

/** What happens while an image is drawn. */
sealed interface Progress {
    /** A step is done: [index] from 0, [of] in all. */
    class Step(val index: Int, val of: Int, val latents: FloatArray) : Progress

    /** The image is done: opaque ARGB pixels, row by row, as `Bitmap.setPixels` takes them. */
    class Image(val width: Int, val height: Int, val pixels: IntArray) : Progress
}

/**
 * Stable Diffusion from a package: prompt, denoising with guidance, decoding.
 *
 * One network is loaded at a time. The graphs have a batch of 1, so guidance runs the denoiser
 * twice a step. The same seed draws what `edgegen run` draws from the package, with the package's
 * scheduler; where this kit does not have it, the constructor throws a PackageException.
 */
class TextToImage(private val folder: PackageFolder, private val opener: GraphOpener) {
    private val tokenizer = ClipTokenizer.fromFolder(folder.folder.resolve("tokenizer"))
    private val scheduler = Schedulers.of(folder.schedulerConfig())

    /**
     * Returns the steps, then the image. Nothing runs until it is collected.
     *
     * A collector that is cancelled stops it before the next step, and the network that is loaded
     * is closed. Collect it off the main thread (`flowOn(Dispatchers.Default)`).
     */
    fun draw(request: Request): Flow<Progress> = flow {
        val guidance = request.guidance ?: folder.guidance
        val trajectory = scheduler.trajectory(request.steps ?: folder.steps)
        val prompts =
            if (guidance > 1f) listOf(request.negativePrompt, request.prompt)
            else listOf(request.prompt)
        val states = encode(prompts)
        val calls = trajectory.timesteps.size
        val guidedCalls =
            (folder.guidanceStart * calls).toInt() until (folder.guidanceStop * calls).toInt()
        val random = TorchRandom(request.seed)
        val deviation = trajectory.firstDeviation
        var latents = random.normals(latentSize()).also { for (i in it.indices) it[i] *= deviation }
        opener.open(folder.denoiser).use { unet ->
            for (index in trajectory.timesteps.indices) {
                val moment = trajectory.timesteps[index]
                val scaled = trajectory.scaled(index, latents)
                val told = if (index in guidedCalls) states else states.takeLast(1)
                val predictions = told.map { predict(unet, scaled, moment, it) }
                val prediction =
                    if (predictions.size == 1) predictions[0]
                    else guided(predictions[0], predictions[1], guidance)
                latents = trajectory.step(index, prediction, latents, random::normals)
                emit(Progress.Step(index, trajectory.timesteps.size, latents))
            }
        }
        emit(decode(latents))
    }

    /** Returns the encoder's last hidden state of each prompt. */
    private fun encode(prompts: List<String>): List<FloatArray> {
        val length = folder.textLength ?: tokenizer.length
            ?: throw PackageException("The tokenizer does not say how many tokens there are.")
        return opener.open(folder.textEncoder).use { encoder ->
            prompts.map { prompt ->
                val ids = Values.Integers(tokenizer.encode(tokenizer.expand(prompt), length).ids)
                encoder.run(mapOf("input_ids" to ids)).output("last_hidden_state")
            }
        }
    }

    private fun predict(
        unet: Graph,
        latents: FloatArray,
        moment: Float,
        states: FloatArray,
    ): FloatArray =
        unet.run(
            mapOf(
                "sample" to Values.Floats(latents),
                "timestep" to Values.Floats(floatArrayOf(moment)),
                "encoder_hidden_states" to Values.Floats(states),
            ),
        ).output(folder.denoiser.firstOutput)

    private fun decode(latents: FloatArray): Progress.Image {
        val component = folder.decoder
        val scaled = FloatArray(latents.size) {
            latents[it] / folder.scalingFactor + folder.shiftFactor
        }
        val image = opener.open(component).use { decoder ->
            decoder.run(mapOf("latent_sample" to Values.Floats(scaled)))
                .output(component.firstOutput)
        }
        return Progress.Image(folder.width, folder.height, pixels(image))
    }

    private fun latentSize(): Int =
        folder.latentChannels *
            (folder.height / folder.vaeScaleFactor) *
            (folder.width / folder.vaeScaleFactor)

    companion object {
        /** Classifier-free guidance (arXiv 2207.12598, in diffusers' convention). */
        private fun guided(without: FloatArray, with: FloatArray, scale: Float): FloatArray =
            FloatArray(with.size) { (with[it] - without[it]) * scale + without[it] }

        /** Returns opaque ARGB pixels of an image in −1…1, (1, 3, height, width). */
        private fun pixels(image: FloatArray): IntArray {
            val plane = image.size / 3
            fun level(index: Int): Int =
                round(min(maxOf(image[index] * 0.5f + 0.5f, 0f), 1f) * 255f).toInt()
            return IntArray(plane) {
                (0xff shl 24) or (level(it) shl 16) or (level(plane + it) shl 8) or
                    level(2 * plane + it)
            }
        }

        private fun Map<String, FloatArray>.output(name: String): FloatArray =
            this[name] ?: throw PackageException("A network has no output $name. Build it again.")
    }
}
