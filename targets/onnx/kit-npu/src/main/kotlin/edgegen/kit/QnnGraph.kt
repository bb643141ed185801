package edgegen.kit

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import ai.onnxruntime.TensorInfo
import java.io.File
import java.nio.FloatBuffer
import java.nio.IntBuffer
import java.nio.LongBuffer

/**
 * A component that was compiled for a Hexagon NPU, on ONNX Runtime with Qualcomm's provider.
 *
 * Where a network is in several contexts, all are loaded, one after the other, and run in turn:
 * each takes by name from the inputs, and from what those before it gave. What crosses keeps its
 * type, for it may be integers that stand for numbers.
 *
 * API: onnxruntime 1.24, java/src/main/java/ai/onnxruntime/OrtEnvironment.java and OrtSession.java
 * (`registerExecutionProviderLibrary`, `getEpDevices`, `addExecutionProvider`).
 */
class QnnGraph private constructor(private val contexts: List<OrtSession>) : Graph {
    override fun run(inputs: Map<String, Values>): Map<String, FloatArray> {
        val made = ArrayList<AutoCloseable>()
        try {
            val known = HashMap<String, OnnxTensor>()
            val outputs = LinkedHashMap<String, FloatArray>()
            for (context in contexts) {
                for ((name, port) in context.inputInfo) {
                    if (name in known) continue
                    val given = inputs[name] ?: throw PackageException("Nothing gives input $name.")
                    known[name] = tensor(given, port.info as TensorInfo, name).also { made += it }
                }
                val results = context.run(known.filterKeys { it in context.inputInfo })
                made += results
                for ((name, result) in results) {
                    val tensor = result as OnnxTensor
                    known[name] = tensor
                    if (tensor.info.type == OnnxJavaType.FLOAT) outputs[name] = floats(tensor)
                }
            }
            return outputs
        } finally {
            made.asReversed().forEach { it.close() }
        }
    }

    override fun close() = contexts.forEach { it.close() }

    companion object {
        /** Qualcomm's provider, as its library calls itself. */
        private const val PROVIDER = "qnn"
        private const val LIBRARY = "libonnxruntime_providers_qnn.so"
        private const val BACKEND = "libQnnHtp.so"
        private var registered = false

        /**
         * Returns what loads the components of a package for this device's NPU.
         *
         * [nativeLibraries] is `applicationInfo.nativeLibraryDir`: Qualcomm's libraries lie there,
         * and the NPU's side of them is found by `ADSP_LIBRARY_PATH`, which is to be set to it with
         * `android.system.Os.setenv` before this is called. Nothing is left to the processor: a
         * context that the NPU doesn't take is an OrtException, and so is a device without one.
         */
        fun opener(nativeLibraries: File): GraphOpener {
            val environment = OrtEnvironment.getEnvironment()
            register(environment, nativeLibraries)
            val devices = environment.epDevices.filter { it.epName == PROVIDER }
            if (devices.isEmpty()) {
                throw PackageException("Qualcomm's provider finds no NPU on this device.")
            }
            val settings = mapOf(
                "backend_path" to nativeLibraries.resolve(BACKEND).path,
                "htp_performance_mode" to "burst",
            )
            return GraphOpener { component ->
                val contexts = ArrayList<OrtSession>()
                try {
                    for (part in component.parts) {
                        OrtSession.SessionOptions().use { options ->
                            options.addConfigEntry("session.disable_cpu_ep_fallback", "1")
                            options.addExecutionProvider(devices.take(1), settings)
                            contexts += environment.createSession(part.path, options)
                        }
                    }
                } finally {
                    // One that fails to load must not leave the others in memory.
                    if (contexts.size < component.parts.size) contexts.forEach { it.close() }
                }
                QnnGraph(contexts)
            }
        }

        @Synchronized
        private fun register(environment: OrtEnvironment, nativeLibraries: File) {
            if (registered) return // a second registration is an error
            environment.registerExecutionProviderLibrary(
                PROVIDER,
                nativeLibraries.resolve(LIBRARY).path,
            )
            registered = true
        }

        private fun tensor(given: Values, port: TensorInfo, name: String): OnnxTensor {
            val environment = OrtEnvironment.getEnvironment()
            val shape = port.shape
            return when {
                given is Values.Floats && port.type == OnnxJavaType.FLOAT ->
                    OnnxTensor.createTensor(environment, FloatBuffer.wrap(given.data), shape)
                given is Values.Integers && port.type == OnnxJavaType.INT32 ->
                    OnnxTensor.createTensor(environment, IntBuffer.wrap(given.data), shape)
                given is Values.Integers && port.type == OnnxJavaType.INT64 -> {
                    val wide = LongArray(given.data.size) { given.data[it].toLong() }
                    OnnxTensor.createTensor(environment, LongBuffer.wrap(wide), shape)
                }
                else -> throw PackageException("Input $name is ${port.type}, which does not fit.")
            }
        }

        private fun floats(tensor: OnnxTensor): FloatArray {
            val buffer = tensor.floatBuffer
            return FloatArray(buffer.remaining()).also { buffer.get(it) }
        }
    }
}
