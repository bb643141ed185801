package edgegen.kit

import java.io.File
import java.security.MessageDigest

/**
 * What a package says of the chip whose NPU it was compiled for, and whether its files are whole.
 *
 * [part] is the chip's name as `android.os.Build.SOC_MODEL` has it, [compiler] what made the
 * contexts: Qualcomm's package in the app has to be as new.
 */
class CompiledPackage private constructor(
    private val folder: File,
    private val manifest: Map<String, Any?>,
) {
    private val compiled = Json.asObject(manifest["compiled"])

    val part: String = compiled["part"] as String
    val compiler: String = compiled["compiler"] as String

    /** Throws PackageException where this device has another chip, as it reports. */
    fun requireChip(socModel: String) {
        if (socModel != part) {
            throw PackageException(
                "This device has $socModel, and $folder was compiled for the NPU of $part. " +
                    "Compile the model for it: edgegen package MODEL --chip $socModel",
            )
        }
    }

    /**
     * Compares every file with the sha256 that the manifest has: what a download is checked by.
     *
     * Throws PackageException for the first that is missing, another, or outside of the folder.
     */
    fun requireWhole() {
        val root = folder.canonicalFile
        for (entry in Json.asList(manifest["files"])) {
            val listed = Json.asObject(entry)
            val file = folder.resolve(listed["path"] as String).canonicalFile
            if (!file.startsWith(root)) {
                throw PackageException("The path ${listed["path"]} leaves $folder. Do not use it.")
            }
            if (!file.isFile) throw PackageException("$file is missing. Load the package again.")
            if (sha256(file) != listed["sha256"]) {
                throw PackageException("$file is not as it was built. Load the package again.")
            }
        }
    }

    companion object {
        private const val PIECE = 1 shl 20

        /** Reads a package's manifest. Throws PackageException where it was compiled for no chip. */
        fun open(folder: File): CompiledPackage {
            val file = folder.resolve("edgegen.json")
            if (!file.isFile) throw PackageException("$file is missing. Load the package again.")
            val manifest = Json.parseObject(file.readText())
            if (manifest["compiled"] == null) {
                throw PackageException("$folder was compiled for no NPU: edgegen package --npu.")
            }
            return CompiledPackage(folder, manifest)
        }

        private fun sha256(file: File): String {
            val digest = MessageDigest.getInstance("SHA-256")
            val piece = ByteArray(PIECE)
            file.inputStream().use { stream ->
                while (true) {
                    val count = stream.read(piece)
                    if (count < 0) break
                    digest.update(piece, 0, count)
                }
            }
            return digest.digest().joinToString("") { "%02x".format(it) }
        }
    }
}
