package edgegen.kit

import java.io.File
import java.io.RandomAccessFile

/** Types of inputs and outputs, by their number in TFLite's schema (`enum TensorType`). */
enum class ElementType(val code: Int) {
    FLOAT32(0),
    INT32(2),
    INT64(4),
}

/** The inputs and outputs of a model's signature, by name. */
class Signature(
    val key: String,
    val inputs: Map<String, ElementType>,
    val outputs: Map<String, ElementType>,
)

/**
 * Reads the first signature of a .tflite file.
 *
 * LiteRT's CompiledModel takes inputs by name and does not say which names there are; the parts of
 * a network need them. Source: LiteRT, tflite/converter/schema/schema.fbs, and the layout of
 * flatbuffers (https://flatbuffers.dev/internals/). The numbers are those of the fields there.
 */
fun readSignature(file: File): Signature =
    RandomAccessFile(file, "r").use { Flatbuffer(it).signature(file) }

private class Flatbuffer(private val file: RandomAccessFile) {
    fun signature(path: File): Signature {
        val model = reference(0)
        val signatures = vector(model, MODEL_SIGNATURES)
        if (signatures.isEmpty()) throw PackageException("$path has no signature. Build it again.")
        val signature = signatures.first()
        val subgraphs = vector(model, MODEL_SUBGRAPHS)
        val subgraph = subgraphs[scalar(signature, SIGNATURE_SUBGRAPH)?.let { int(it) } ?: 0]
        val tensors = vector(subgraph, SUBGRAPH_TENSORS)
        fun named(field: Int): Map<String, ElementType> =
            vector(signature, field).associate { map ->
                val name = string(map, MAP_NAME)
                val index = scalar(map, MAP_INDEX)?.let { int(it) } ?: 0
                name to elementType(tensors[index], name, path)
            }
        return Signature(
            string(signature, SIGNATURE_KEY),
            named(SIGNATURE_INPUTS),
            named(SIGNATURE_OUTPUTS),
        )
    }

    private fun elementType(tensor: Long, name: String, path: File): ElementType {
        val code = scalar(tensor, TENSOR_TYPE)?.let { byte(it) } ?: 0
        return ElementType.entries.firstOrNull { it.code == code } ?: throw PackageException(
            "$name of $path has the type $code. This kit feeds float32 and integer ids: build the " +
                "package with a recipe whose inputs are float32.",
        )
    }

    /** Returns where a field of a table is, or null where it has its default. */
    private fun scalar(table: Long, field: Int): Long? {
        val layout = table - int(table)
        val entry = 4 + 2L * field
        if (entry >= short(layout)) return null
        val offset = short(layout + entry)
        return if (offset == 0) null else table + offset
    }

    /** Returns the tables that a field lists. */
    private fun vector(table: Long, field: Int): List<Long> {
        val start = reference(scalar(table, field) ?: return emptyList())
        return List(int(start)) { reference(start + 4 + 4L * it) }
    }

    private fun string(table: Long, field: Int): String {
        val start = reference(scalar(table, field) ?: return "")
        val bytes = ByteArray(int(start))
        file.seek(start + 4)
        file.readFully(bytes)
        return String(bytes, Charsets.UTF_8)
    }

    private fun reference(position: Long): Long =
        position + (int(position).toLong() and 0xffffffffL)

    private fun int(position: Long): Int {
        file.seek(position)
        return Integer.reverseBytes(file.readInt()) // little endian
    }

    private fun short(position: Long): Int {
        file.seek(position)
        return java.lang.Short.reverseBytes(file.readShort()).toInt() and 0xffff
    }

    private fun byte(position: Long): Int {
        file.seek(position)
        return file.readByte().toInt()
    }

    private companion object {
        const val MODEL_SUBGRAPHS = 2
        const val MODEL_SIGNATURES = 7
        const val SIGNATURE_INPUTS = 0
        const val SIGNATURE_OUTPUTS = 1
        const val SIGNATURE_KEY = 2
        const val SIGNATURE_SUBGRAPH = 4
        const val MAP_NAME = 0
        const val MAP_INDEX = 1
        const val SUBGRAPH_TENSORS = 0
        const val TENSOR_TYPE = 1
    }
}
