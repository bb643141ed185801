package edgegen.kit

import kotlin.math.cos
import kotlin.math.ln
import kotlin.math.sin
import kotlin.math.sqrt

/**
 * The normals of torch's CPU generator: a seed gives the latents that diffusers, and edgegen on
 * every other device, start from. See edgegen_runner/torch_random.py, which lists the sources.
 */
class TorchRandom(seed: Long) {
    private val state = IntArray(STATE)
    private var next = STATE

    init {
        state[0] = seed.toInt() // torch takes the low 32 bits alone
        for (index in 1 until STATE) {
            val last = state[index - 1]
            state[index] = 1812433253 * (last xor (last ushr 30)) + index
        }
    }

    /** Returns [size] standard normals, at least 16. */
    fun normals(size: Int): FloatArray {
        require(size >= BLOCK) { "Draw at least $BLOCK normals: torch draws fewer another way." }
        val values = FloatArray(size) { uniform() }
        for (start in 0..size - BLOCK step BLOCK) boxMuller(values, start)
        if (size % BLOCK != 0) {
            for (index in size - BLOCK until size) values[index] = uniform()
            boxMuller(values, size - BLOCK)
        }
        return values
    }

    /** Turns a block of uniforms into normals: eight radii, then eight angles. */
    private fun boxMuller(values: FloatArray, start: Int) {
        for (index in start until start + BLOCK / 2) {
            val radius = sqrt(-2.0 * ln(1.0 - values[index].toDouble()))
            val angle = ((2.0 * Math.PI).toFloat() * values[index + BLOCK / 2]).toDouble()
            values[index] = (radius * cos(angle)).toFloat()
            values[index + BLOCK / 2] = (radius * sin(angle)).toFloat()
        }
    }

    private fun uniform(): Float = (draw() and 0xffffff).toFloat() * TWO_TO_MINUS_24

    /** Returns the next 32 bits of the Mersenne Twister (Matsumoto and Nishimura, mt19937ar). */
    private fun draw(): Int {
        if (next == STATE) twist()
        var bits = state[next++]
        bits = bits xor (bits ushr 11)
        bits = bits xor ((bits shl 7) and -0x62d3a980)
        bits = bits xor ((bits shl 15) and -0x103a0000)
        return bits xor (bits ushr 18)
    }

    private fun twist() {
        for (index in 0 until STATE) {
            val joined =
                (state[index] and Int.MIN_VALUE) or (state[(index + 1) % STATE] and Int.MAX_VALUE)
            val mask = if (joined and 1 == 0) 0 else -0x66f74f21
            state[index] = state[(index + MIDDLE) % STATE] xor (joined ushr 1) xor mask
        }
        next = 0
    }

    private companion object {
        const val STATE = 624
        const val MIDDLE = 397
        const val BLOCK = 16
        const val TWO_TO_MINUS_24 = 1f / (1 shl 24)
    }
}
