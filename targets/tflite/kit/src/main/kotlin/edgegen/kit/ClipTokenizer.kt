package edgegen.kit

import java.io.File
import java.text.Normalizer
import java.util.Locale
import java.util.PriorityQueue

/** A prompt as the text encoder takes it: [ids], and how many tokens did not fit. */
class Encoded(val ids: IntArray, val cutTokens: Int)

/**
 * CLIP's byte-pair encoding: the ids of edgegen_runner/tokenizers/clip.py, which are those of
 * transformers' CLIPTokenizer.
 *
 * The four special tokens, and tokens that were added (textual inversion), are looked for in the
 * prompt, as transformers does.
 */
class ClipTokenizer private constructor(
    private val vocabulary: Map<String, Int>,
    merges: List<Pair<String, String>>,
    private val special: Special,
    added: List<Added>,
) {
    /** A token that was added; a [normalized] one is looked for in the normalized text. */
    private class Added(val content: String, val normalized: Boolean)

    /** The special tokens, and the number of tokens that the text encoder takes. */
    private class Special(
        val start: String,
        val end: String,
        val unknown: String,
        val padding: String,
        val length: Int?,
    )

    private class Merge(val rank: Int, val id: Int)

    private val addedIds: Map<String, Int> = LinkedHashMap<String, Int>().apply {
        var next = vocabulary.size // as in tokenizers: one of the vocabulary keeps its id
        for (token in added) {
            val id = getOrPut(token.content) { vocabulary[token.content] ?: next }
            next = maxOf(next, id + 1)
        }
    }
    private val merges: Map<Long, Merge> = HashMap<Long, Merge>(merges.size * 2).apply {
        merges.forEachIndexed { rank, (left, right) ->
            put(pair(id(left), id(right)), Merge(rank, id(left + right)))
        }
    }
    private val unknownId = id(special.unknown)
    private val asWritten: Map<String, Int>
    private val inNormalized: Map<String, Int>

    init {
        val four = listOf(special.start, special.end, special.unknown, special.padding)
        val (normalizedOnes, others) = added.filter { it.content !in four }.partition { it.normalized }
        asWritten = (four + others.map { it.content }).associateWith { id(it) }
        inNormalized = normalizedOnes.associate { normalized(it.content) to id(it.content) }
    }

    /** Tokens that the text encoder takes with start and end; null where the files set no limit. */
    val length: Int? = special.length

    /** Returns [length] ids: start, prompt, end, padding; what does not fit is cut. */
    fun encode(prompt: String, length: Int): Encoded {
        require(length >= 2) { "A length of $length has no room for the start and end tokens." }
        val ids = encode(prompt)
        val kept = ids.take(length - 2)
        val padding = List(length - 2 - kept.size) { id(special.padding) }
        val all = listOf(id(special.start)) + kept + id(special.end) + padding
        return Encoded(all.toIntArray(), ids.size - kept.size)
    }

    /** Returns the ids of a text, without start, end and padding. */
    fun encode(text: String): List<Int> {
        val ids = ArrayList<Int>()
        pieces(text, { _, id -> ids.add(id) }) { encodePlain(it, ids) }
        return ids
    }

    /**
     * Returns a prompt in which a learned concept of several vectors has all its tokens: `<toy>`
     * becomes `<toy> <toy>_1 <toy>_2`, as diffusers' maybe_convert_prompt makes it.
     */
    fun expand(prompt: String): String {
        val found = LinkedHashSet<String>()
        pieces(prompt, { token, _ -> found.add(token) }) {}
        return found.filter { it in addedIds }.fold(prompt) { text, token ->
            val more = generateSequence(1) { it + 1 }.map { "${token}_$it" }
                .takeWhile { it in addedIds }
            text.replace(token, (sequenceOf(token) + more).joinToString(" "))
        }
    }

    /** Goes through a text: added tokens with their ids, and what is between them, normalized. */
    private fun pieces(text: String, onToken: (String, Int) -> Unit, onPlain: (String) -> Unit) =
        split(text, asWritten, onToken) { split(normalized(it), inNormalized, onToken, onPlain) }

    /** Finds tokens in a text, the leftmost first, and of those the longest. */
    private fun split(
        text: String,
        tokens: Map<String, Int>,
        onToken: (String, Int) -> Unit,
        onPlain: (String) -> Unit,
    ) {
        val longestFirst = tokens.keys.sortedByDescending { it.length }
        var plain = 0
        var position = 0
        while (position < text.length) {
            val token = longestFirst.firstOrNull { text.startsWith(it, position) }
            if (token == null) {
                position++
                continue
            }
            onPlain(text.substring(plain, position))
            onToken(token, tokens.getValue(token))
            position += token.length
            plain = position
        }
        onPlain(text.substring(plain))
    }

    private fun encodePlain(text: String, ids: MutableList<Int>) {
        for (word in words(text)) {
            val symbols = word.toByteArray(Charsets.UTF_8)
                .map { BYTE_CHARACTER[it.toInt() and 0xff].toString() }
                .toMutableList()
            symbols[symbols.size - 1] = symbols.last() + END_OF_WORD
            ids.addAll(merged(symbols.map { vocabulary[it] ?: unknownId }.toIntArray()))
        }
    }

    private class Offer(val rank: Int, val left: Int, val id: Int)

    /** Merges the best-ranked pair, leftmost first, until none is left (tokenizers, bpe/word.rs). */
    private fun merged(ids: IntArray): List<Int> {
        val following = IntArray(ids.size) { if (it + 1 < ids.size) it + 1 else -1 }
        val previous = IntArray(ids.size) { it - 1 }
        val alive = BooleanArray(ids.size) { true }
        val queue = PriorityQueue<Offer>(compareBy<Offer>({ it.rank }, { it.left }, { it.id }))

        fun offer(left: Int, right: Int) {
            if (left < 0 || right < 0) return
            val merge = merges[pair(ids[left], ids[right])] ?: return
            queue.add(Offer(merge.rank, left, merge.id))
        }

        for (left in 0 until ids.size - 1) offer(left, left + 1)
        while (true) {
            val best = queue.poll() ?: break
            val right = following[best.left]
            if (!alive[best.left] || right < 0) continue
            // Another id: one of the two was merged into something else meanwhile.
            if (merges[pair(ids[best.left], ids[right])]?.id != best.id) continue
            ids[best.left] = best.id
            alive[right] = false
            following[best.left] = following[right]
            if (following[best.left] >= 0) previous[following[best.left]] = best.left
            offer(previous[best.left], best.left)
            offer(best.left, following[best.left])
        }
        return ids.filterIndexed { index, _ -> alive[index] }
    }

    private fun id(token: String): Int =
        addedIds[token] ?: vocabulary[token] ?: throw IllegalArgumentException("The vocabulary lacks $token.")

    companion object {
        private const val END_OF_WORD = "</w>"
        private const val LARGEST_LENGTH = 1_000_000.0 // transformers writes 1e30 for "no limit"
        private val SPELLED = listOf("<|startoftext|>", "<|endoftext|>")
        private val CONTRACTIONS = listOf("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
        private val SPACE =
            Regex("[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")

        /** GPT-2's printable stand-in for each byte (openai/gpt-2, src/encoder.py). */
        private val BYTE_CHARACTER: CharArray = CharArray(256).also { characters ->
            var others = 0
            for (byte in 0..255) {
                val printable = byte in 0x21..0x7e || byte in 0xa1..0xac || byte in 0xae..0xff
                characters[byte] = if (printable) byte.toChar() else (256 + others++).toChar()
            }
        }

        /**
         * Reads the tokenizer folder of a package: vocab.json and merges.txt.
         *
         * Throws java.io.FileNotFoundException where one is missing, IllegalArgumentException where
         * one is broken.
         */
        fun fromFolder(folder: File): ClipTokenizer {
            val vocabulary = HashMap<String, Int>()
            for ((token, id) in Json.parseObject(folder.resolve("vocab.json").readText())) {
                vocabulary[token] = (id as? Double)?.toInt()
                    ?: throw JsonException("vocab.json gives $token no number.")
            }
            val merges = folder.resolve("merges.txt").readText().removeSuffix("\n").split("\n")
                .filter { !it.startsWith("#version") }
                .map { line ->
                    val tokens = line.removeSuffix("\r").split(" ")
                    require(tokens.size == 2) { "merges.txt has a line of other than two tokens." }
                    Pair(tokens[0], tokens[1])
                }
            val special = special(folder)
            return ClipTokenizer(vocabulary, merges, special, added(folder, special))
        }

        /** Reads the added tokens, in the order of their ids; the four special ones may be among them. */
        private fun added(folder: File, special: Special): List<Added> {
            val config = folder.resolve("tokenizer_config.json").objectIfThere()
            val decoder = config["added_tokens_decoder"]
            if (decoder == null) {
                val four = setOf(special.start, special.end, special.unknown, special.padding)
                return folder.resolve("added_tokens.json").objectIfThere().entries
                    .sortedBy { (_, id) -> id as Double }
                    .map { (content, _) -> Added(content, normalized = content !in four) }
            }
            return Json.asObject(decoder).entries.sortedBy { it.key.toInt() }.map { (_, value) ->
                val token = Json.asObject(value)
                val content = token["content"] as String
                for (flag in listOf("single_word", "lstrip", "rstrip")) {
                    require(token[flag] != true) { "The kit does not support $flag of $content." }
                }
                val normalized = token["normalized"] ?: (token["special"] != true)
                Added(content, normalized == true)
            }
        }

        private fun File.objectIfThere(): Map<String, Any?> =
            if (exists()) Json.parseObject(readText()) else emptyMap()

        private fun special(folder: File): Special {
            val config = folder.resolve("tokenizer_config.json").objectIfThere()
            val map = folder.resolve("special_tokens_map.json")
            // added_tokens_decoder is the newer way; only with it, the map is not read.
            val named =
                if (map.exists() && "added_tokens_decoder" !in config) {
                    config + Json.parseObject(map.readText())
                } else {
                    config
                }
            fun token(name: String, default: String): String =
                when (val value = named[name]) {
                    is String -> value
                    is Map<*, *> -> value["content"] as? String ?: default
                    else -> default
                }
            val length = config["model_max_length"] as? Double
            return Special(
                start = token("bos_token", SPELLED[0]),
                end = token("eos_token", SPELLED[1]),
                unknown = token("unk_token", SPELLED[1]),
                padding = token("pad_token", SPELLED[1]),
                length = length?.takeIf { it > 0 && it <= LARGEST_LENGTH }?.toInt(),
            )
        }

        private fun pair(left: Int, right: Int): Long = (left.toLong() shl 32) or right.toLong()

        /** Returns a text composed (NFC), with single spaces, in lower case. */
        private fun normalized(text: String): String {
            val composed = SPACE.replace(Normalizer.normalize(text, Normalizer.Form.NFC), " ")
            // Character by character, as tokenizers does it: a final capital sigma stays "σ".
            return buildString {
                for (code in codePoints(composed)) {
                    append(String(Character.toChars(code)).lowercase(Locale.ROOT))
                }
            }
        }

        private fun codePoints(text: String): IntArray {
            val codes = IntArray(text.codePointCount(0, text.length))
            var position = 0
            for (index in codes.indices) {
                codes[index] = text.codePointAt(position)
                position += Character.charCount(codes[index])
            }
            return codes
        }

        private enum class Kind { LETTER, NUMBER, SYMBOL }

        private fun kind(code: Int): Kind =
            when (Character.getType(code).toByte()) {
                Character.UPPERCASE_LETTER, Character.LOWERCASE_LETTER, Character.TITLECASE_LETTER,
                Character.MODIFIER_LETTER, Character.OTHER_LETTER -> Kind.LETTER
                Character.DECIMAL_DIGIT_NUMBER, Character.LETTER_NUMBER, Character.OTHER_NUMBER ->
                    Kind.NUMBER
                else -> Kind.SYMBOL
            }

        /** Returns the words of a normalized text; see `_words` of tokenizers/clip.py. */
        private fun words(text: String): List<String> {
            val found = ArrayList<String>()
            var position = 0
            while (position < text.length) {
                if (text[position] == ' ') {
                    position++
                    continue
                }
                val spelled = SPELLED.firstOrNull { text.startsWith(it, position) }
                if (spelled != null) {
                    found += listOf("<|", spelled.substring(2, spelled.length - 2), "|>")
                    position += spelled.length
                    continue
                }
                val ending = CONTRACTIONS.firstOrNull { text.startsWith(it, position) }
                if (ending != null) {
                    found += ending
                    position += ending.length
                    continue
                }
                val first = text.codePointAt(position)
                var end = position + Character.charCount(first)
                if (kind(first) != Kind.NUMBER) { // each digit is a word
                    while (end < text.length && text[end] != ' ') {
                        val code = text.codePointAt(end)
                        if (kind(code) != kind(first)) break
                        end += Character.charCount(code)
                    }
                }
                found += text.substring(position, end)
                position = end
            }
            return found
        }
    }
}
