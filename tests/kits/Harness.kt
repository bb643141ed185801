package edgegen.kit

import java.io.DataOutputStream
import java.io.File
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking

/**
 * Runs the kit's Kotlin on a desktop JVM for test_kotlin.py: a command, and files to read and write.
 *
 * The networks are formulas that the test knows too: what is compared is all around them.
 */
fun main(arguments: Array<String>) {
    val (command, first, output) = arguments
    when (command) {
        "tokens" -> tokens(File(first), File(arguments[3]), File(output))
        "trajectories" ->
            trajectories(File(first), arguments.drop(3).map { it.toInt() }, File(output))
        "normals" ->
            write(File(output), TorchRandom(first.toLong()).normals(arguments[3].toInt()))
        "signature" -> signature(File(first), File(output))
        "opened" -> opened(File(first), File(output))
        "draw" -> draw(File(first), arguments[3], File(output))
        "cancel" -> cancel(File(first), File(output))
        else -> throw IllegalArgumentException(command)
    }
}

private fun tokens(folder: File, prompts: File, output: File) {
    val tokenizer = ClipTokenizer.fromFolder(folder)
    val lines = Json.asList(Json.parse(prompts.readText())).map { prompt ->
        val expanded = tokenizer.expand(prompt as String)
        val encoded = tokenizer.encode(expanded, checkNotNull(tokenizer.length))
        "${encoded.cutTokens} ${encoded.ids.joinToString(" ")}"
    }
    output.writeText(lines.joinToString("\n"))
}

/** Trajectories of so many steps each, one after the other; or why there is none. */
private fun trajectories(config: File, steps: List<Int>, output: File) {
    val written = ArrayList<Float>()
    try {
        val scheduler = Schedulers.of(Json.parseObject(config.readText()))
        steps.forEach { follow(scheduler.trajectory(it), written) }
    } catch (refused: PackageException) {
        return output.writeText(checkNotNull(refused.message))
    }
    write(output, written.toFloatArray())
}

/** Adds each timestep, then the 64 values that its step leaves. */
private fun follow(trajectory: Trajectory, written: MutableList<Float>) {
    val random = TorchRandom(5)
    var sample = FloatArray(64) { (it / 8f - 4f) * trajectory.firstDeviation }
    for (index in trajectory.timesteps.indices) {
        val scaled = trajectory.scaled(index, sample)
        val prediction = FloatArray(64) { 1f - scaled[it] * 0.5f }
        sample = trajectory.step(index, prediction, sample, random::normals)
        written += trajectory.timesteps[index]
        written += sample.toList()
    }
}

/** Writes why the kit does not open a package, nothing where it does. */
private fun opened(folder: File, output: File) {
    try {
        PackageFolder.open(folder)
        output.writeText("")
    } catch (refused: PackageException) {
        output.writeText(checkNotNull(refused.message))
    }
}

private fun signature(model: File, output: File) {
    val found = readSignature(model)
    val lines = listOf(found.key) +
        found.inputs.map { "input ${it.key} ${it.value}" } +
        found.outputs.map { "output ${it.key} ${it.value}" }
    output.writeText(lines.joinToString("\n"))
}

/** A formula in place of each network; `opened` notes what is loaded and closed. */
private class Formulas(val opened: MutableList<String>) : GraphOpener {
    override fun open(component: Component): Graph {
        opened += "open ${component.name}"
        return object : Graph {
            override fun run(inputs: Map<String, Values>): Map<String, FloatArray> =
                mapOf(
                    when (component.name) {
                        "text_encoder" -> "last_hidden_state" to states(inputs)
                        "unet" -> component.firstOutput to prediction(inputs)
                        else -> component.firstOutput to image(inputs)
                    },
                )

            override fun close() {
                opened += "close ${component.name}"
            }
        }
    }

    private fun states(inputs: Map<String, Values>): FloatArray {
        val ids = (inputs.getValue("input_ids") as Values.Integers).data
        return FloatArray(ids.size) { ids[it] / 1024f }
    }

    private fun prediction(inputs: Map<String, Values>): FloatArray {
        val sample = floats(inputs, "sample")
        val states = floats(inputs, "encoder_hidden_states")
        val moment = floats(inputs, "timestep").single() / 1024f
        return FloatArray(sample.size) {
            sample[it] * 0.5f + states[it % states.size] * 0.25f + moment
        }
    }

    /** The first three channels of the latents, as small as they are. */
    private fun image(inputs: Map<String, Values>): FloatArray {
        val latents = floats(inputs, "latent_sample")
        val plane = latents.size / 4
        return FloatArray(3 * plane) { latents[it] * 0.0625f }
    }

    private fun floats(inputs: Map<String, Values>, name: String): FloatArray =
        (inputs.getValue(name) as Values.Floats).data
}

private fun draw(folder: File, prompt: String, output: File) = runBlocking {
    val pipeline = TextToImage(PackageFolder.open(folder), Formulas(ArrayList()))
    DataOutputStream(output.outputStream().buffered()).use { stream ->
        pipeline.draw(Request(prompt, seed = 7, steps = 5, guidance = 3f)).collect { progress ->
            when (progress) {
                is Progress.Step -> progress.latents.forEach(stream::writeFloat)
                is Progress.Image -> progress.pixels.forEach(stream::writeInt)
            }
        }
    }
}

private fun cancel(folder: File, output: File) = runBlocking {
    val opened = ArrayList<String>()
    val steps = TextToImage(PackageFolder.open(folder), Formulas(opened))
        .draw(Request("pizza", steps = 5)).take(2).toList()
    output.writeText((opened + "${steps.size} steps").joinToString("\n"))
}

private fun write(output: File, values: FloatArray) =
    DataOutputStream(output.outputStream().buffered()).use { stream ->
        values.forEach(stream::writeFloat)
    }
