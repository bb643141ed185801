package edgegen.kit

/** A JSON text is broken; [message] says where. */
class JsonException(message: String) : IllegalArgumentException(message)

/**
 * Reads JSON (RFC 8259) into maps, lists, strings, doubles, booleans and null; also NaN, Infinity
 * and -Infinity, which Python writes, and diffusers' DPM-Solver among its defaults.
 *
 * Android's org.json would do, but exists on Android alone: with this, everything below the app
 * runs, and is tested, on any JVM.
 */
class Json private constructor(private val text: String) {
    private var position = 0

    private fun value(): Any? {
        skipSpace()
        return when (val character = peek()) {
            '{' -> readObject()
            '[' -> readArray()
            '"' -> readString()
            't' -> literal("true", true)
            'f' -> literal("false", false)
            'n' -> literal("null", null)
            'N' -> literal("NaN", Double.NaN)
            'I' -> literal("Infinity", Double.POSITIVE_INFINITY)
            else ->
                when {
                    text.startsWith("-I", position) ->
                        literal("-Infinity", Double.NEGATIVE_INFINITY)
                    character == '-' || character.isDigit() -> number()
                    else -> fail("a value")
                }
        }
    }

    private fun readObject(): Map<String, Any?> {
        val result = LinkedHashMap<String, Any?>()
        expect('{')
        skipSpace()
        if (peek() == '}') {
            position++
            return result
        }
        do {
            skipSpace()
            val key = readString()
            skipSpace()
            expect(':')
            result[key] = value()
        } while (another('}'))
        return result
    }

    private fun readArray(): List<Any?> {
        val result = ArrayList<Any?>()
        expect('[')
        skipSpace()
        if (peek() == ']') {
            position++
            return result
        }
        do {
            result.add(value())
        } while (another(']'))
        return result
    }

    /** Returns whether a comma says that another element follows; else takes the [end]. */
    private fun another(end: Char): Boolean {
        skipSpace()
        if (peek() == ',') {
            position++
            return true
        }
        expect(end)
        return false
    }

    private fun readString(): String {
        expect('"')
        val result = StringBuilder()
        while (true) {
            val character = next()
            when {
                character == '"' -> return result.toString()
                character == '\\' -> result.append(escaped())
                character < ' ' -> fail("no control character")
                else -> result.append(character)
            }
        }
    }

    private fun escaped(): Char =
        when (val character = next()) {
            '"', '\\', '/' -> character
            'b' -> '\b'
            'f' -> '\u000c'
            'n' -> '\n'
            'r' -> '\r'
            't' -> '\t'
            'u' -> {
                val end = position + 4
                if (end > text.length) fail("four digits")
                val code = text.substring(position, end).toIntOrNull(16) ?: fail("four digits")
                position = end
                code.toChar()
            }
            else -> fail("an escape")
        }

    private fun number(): Double {
        val start = position
        while (position < text.length && text[position] in "+-0123456789.eE") position++
        return text.substring(start, position).toDoubleOrNull() ?: fail("a number")
    }

    private fun <T> literal(word: String, meaning: T): T {
        if (!text.startsWith(word, position)) fail(word)
        position += word.length
        return meaning
    }

    private fun skipSpace() {
        while (position < text.length && text[position] in " \t\n\r") position++
    }

    private fun peek(): Char = if (position < text.length) text[position] else fail("more")

    private fun next(): Char = peek().also { position++ }

    private fun expect(character: Char) {
        if (next() != character) fail("'$character'")
    }

    private fun fail(wanted: String): Nothing =
        throw JsonException("Expected $wanted at character $position of the JSON text.")

    companion object {
        /** Returns what a text holds. Throws JsonException where it is broken. */
        fun parse(text: String): Any? {
            val json = Json(text)
            val result = json.value()
            json.skipSpace()
            if (json.position != text.length) json.fail("the end")
            return result
        }

        /** Returns the object that a text holds. Throws JsonException for anything else. */
        fun parseObject(text: String): Map<String, Any?> = asObject(parse(text))

        /** Returns a value as an object. Throws JsonException where it is none. */
        @Suppress("UNCHECKED_CAST") // keys of a parsed object are strings
        fun asObject(value: Any?): Map<String, Any?> =
            value as? Map<String, Any?> ?: throw JsonException("Expected a JSON object.")

        /** Returns a value as a list. Throws JsonException where it is none. */
        fun asList(value: Any?): List<Any?> =
            value as? List<Any?> ?: throw JsonException("Expected a JSON array.")
    }
}
