package edgegen.kit

import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.TensorBuffer
import java.io.File

/**
 * A component on LiteRT's CompiledModel.
 *
 * Where a network is in several files, each takes from the inputs, and from the outputs of those
 * before it, what its signature names.
 *
 * API: LiteRT v2.2.0, litert/kotlin/src/main/kotlin/com/google/ai/edge/litert/Model.kt and
 * TensorBuffer.kt; guide: https://developers.google.com/edge/litert/next/android_kotlin.
 */
class LiteRtGraph private constructor(private val parts: List<Part>) : Graph {
    override fun run(inputs: Map<String, Values>): Map<String, FloatArray> {
        val known = LinkedHashMap(inputs)
        val outputs = LinkedHashMap<String, FloatArray>()
        for (part in parts) {
            for ((name, data) in part.run(known)) {
                outputs[name] = data
                known[name] = Values.Floats(data)
            }
        }
        return outputs
    }

    override fun close() = parts.forEach { it.close() }

    /** One file: the model, and buffers that are filled anew for each run. */
    private class Part(file: File, options: CompiledModel.Options) : AutoCloseable {
        private val signature = readSignature(file)
        private val model = CompiledModel.create(file.path, options)
        private val inputs =
            signature.inputs.keys.associateWith { model.createInputBuffer(it, signature.key) }
        private val outputs =
            signature.outputs.keys.associateWith { model.createOutputBuffer(it, signature.key) }

        fun run(values: Map<String, Values>): Map<String, FloatArray> {
            for ((name, buffer) in inputs) {
                val given = values[name] ?: throw PackageException("Nothing gives input $name.")
                write(buffer, given, signature.inputs.getValue(name), name)
            }
            model.run(inputs, outputs, signature.key)
            return outputs.filterKeys { signature.outputs[it] == ElementType.FLOAT32 }
                .mapValues { (_, buffer) -> buffer.readFloat() }
        }

        private fun write(buffer: TensorBuffer, given: Values, type: ElementType, name: String) {
            when {
                given is Values.Floats && type == ElementType.FLOAT32 ->
                    buffer.writeFloat(given.data)
                given is Values.Integers && type == ElementType.INT32 -> buffer.writeInt(given.data)
                given is Values.Integers && type == ElementType.INT64 ->
                    buffer.writeLong(LongArray(given.data.size) { given.data[it].toLong() })
                else -> throw PackageException("Input $name is $type, which does not fit.")
            }
        }

        override fun close() {
            inputs.values.forEach { it.close() }
            outputs.values.forEach { it.close() }
            model.close()
        }
    }

    companion object {
        /**
         * Returns what loads components for an [accelerator]; delegates.md says which suits what.
         *
         * [threads] are those of XNNPACK, on the CPU. LiteRT throws LiteRtException where a file
         * does not load.
         */
        fun opener(accelerator: Accelerator = Accelerator.CPU, threads: Int? = null) =
            GraphOpener { component ->
                val options = CompiledModel.Options(accelerator)
                if (accelerator == Accelerator.CPU && threads != null) {
                    options.cpuOptions = CompiledModel.CpuOptions(numThreads = threads)
                }
                val parts = ArrayList<Part>()
                try {
                    component.parts.forEach { parts += Part(it, options) }
                } finally {
                    // One that fails to load must not leave the others in memory.
                    if (parts.size < component.parts.size) parts.forEach { it.close() }
                }
                LiteRtGraph(parts)
            }
    }
}
