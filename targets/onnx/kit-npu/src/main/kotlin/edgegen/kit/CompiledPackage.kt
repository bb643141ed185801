package edgegen.kit

import java.io.File
import java.security.MessageDigest

/**
 * What a package says of the chip whose NPU it was compiled for, and whether its files are whole.
 *
 * [part] is the chip's name as `android.os.Build.SOC_MODEL` has it, [compiler] what made the
 * contexts: Qualcomm's package in the app has to be as new. Of a package for several chips it is
 * the part of this device's; [contexts] is where its contexts lie in the folder of each component,
 * empty where they lie in it themselves.
 */
class CompiledPackage private constructor(
    private val folder: File,
    private val manifest: Map<String, Any?>,
    compiled: Map<String, Any?>,
) {
    val part: String = compiled["part"] as String
    val compiler: String = compiled["compiler"] as String
    val contexts: String = folderOf(compiled)

    private val others = chips(manifest).map(::folderOf).toSet() - contexts

    /** Returns whether a file, by its path in the package, is one that this device needs. */
    fun isNeeded(path: String): Boolean {
        val names = path.split("/")
        return names.size < 3 || names[1] !in others
    }

    /**
     * Compares every file that this device needs with the sha256 that the manifest has: what a
     * download is checked by.
     *
     * Throws PackageException for the first that is missing, another, or outside of the folder.
     */
    fun requireWhole() {
        val root = folder.canonicalFile
        for (entry in Json.asList(manifest["files"])) {
            val listed = Json.asObject(entry)
            if (!isNeeded(listed["path"] as String)) continue
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

        /**
         * Reads a package's manifest for a device with the chip [socModel], as it reports it.
         *
         * Throws PackageException where it was compiled for no chip, or for others.
         */
        fun open(folder: File, socModel: String): CompiledPackage {
            val file = folder.resolve("edgegen.json")
            if (!file.isFile) throw PackageException("$file is missing. Load the package again.")
            val manifest = Json.parseObject(file.readText())
            val chips = chips(manifest)
            if (chips.isEmpty()) {
                throw PackageException("$folder was compiled for no NPU: edgegen package --npu.")
            }
            val own = chips.firstOrNull { it["part"] == socModel } ?: throw PackageException(
                "This device has $socModel, and $folder was compiled for the NPU of " +
                    "${chips.joinToString(" and ") { it["part"] as String }}. " +
                    "Compile the model for it: edgegen package MODEL --chip $socModel",
            )
            return CompiledPackage(folder, manifest, own)
        }

        private fun chips(manifest: Map<String, Any?>): List<Map<String, Any?>> =
            if (manifest["compiled"] is List<*>) {
                Json.asList(manifest["compiled"]).map { Json.asObject(it) }
            } else {
                emptyList()
            }

        private fun folderOf(compiled: Map<String, Any?>): String =
            compiled["folder"] as? String ?: ""

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
