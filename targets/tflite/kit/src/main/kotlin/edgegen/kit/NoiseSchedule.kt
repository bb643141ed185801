package edgegen.kit

import kotlin.math.cos
import kotlin.math.exp
import kotlin.math.ln
import kotlin.math.min
import kotlin.math.pow
import kotlin.math.sqrt

/**
 * What the schedulers of this kit share: the variance schedule, which timesteps are visited, and
 * what a prediction means. Defaults are diffusers'; the numbers are those of
 * edgegen_runner/schedulers (betas.py, timesteps.py, prediction.py, sigmas.py), in float32.
 *
 * [finiteSigma] keeps the last product above zero, for schedulers that divide by it.
 */
class NoiseSchedule(
    config: SchedulerConfig,
    spacing: String = "linspace",
    beta: Triple<Double, Double, String> = Triple(0.0001, 0.02, "linear"),
    finiteSigma: Boolean = false,
) {
    val total = config.whole("num_train_timesteps", 1000)
    val predictionType = config.word("prediction_type", "epsilon", "v_prediction", "sample")
    val timestepSpacing =
        config.word("timestep_spacing", spacing, "leading", "linspace", "trailing")
    val betaSchedule =
        config.word("beta_schedule", beta.third, "linear", "scaled_linear", "squaredcos_cap_v2")
    private val stepsOffset = config.whole("steps_offset", 0)

    /** The cumulative product of 1 − beta at each training timestep. */
    val products: FloatArray

    init {
        config.refuse("thresholding", "trained_betas")
        val zeroSnr = config.flag("rescale_betas_zero_snr", false)
        val betas = betas(config.number("beta_start", beta.first), config.number("beta_end", beta.second))
        products = cumulativeProducts(if (zeroSnr) rescaled(betas) else betas)
        if (zeroSnr && finiteSigma) products[total - 1] = LEAST_PRODUCT
    }

    /** Returns the noise level of each training timestep: noise over signal, rising. */
    fun trainingSigmas(): FloatArray =
        FloatArray(total) { sqrt((1f - products[it]) / products[it]) }

    /** Refuses a number of steps out of range. */
    fun check(steps: Int, atMost: Int = total) =
        require(steps in 1..atMost) { "This scheduler takes 1 to $atMost steps, not $steps." }

    /** Returns the timesteps of schedulers that index those of training. */
    fun wholeTimesteps(steps: Int): IntArray =
        when (timestepSpacing) {
            "leading" -> IntArray(steps) { (steps - 1 - it) * (total / steps) + stepsOffset }
            "linspace" ->
                IntArray(steps) { Math.rint(linspace(total - 1, steps, steps - 1 - it)).toInt() }
            else -> trailing(total, steps)
        }

    /** Returns the timesteps of schedulers that interpolate noise levels. */
    fun fractionalTimesteps(steps: Int): FloatArray =
        if (timestepSpacing == "linspace") {
            FloatArray(steps) { linspace(total - 1, steps, steps - 1 - it).toFloat() }
        } else {
            wholeTimesteps(steps).map { it.toFloat() }.toFloatArray()
        }

    /** Returns the timesteps of multistep solvers, which leave out the last and those from [end]. */
    fun solverTimesteps(steps: Int, end: Int): IntArray =
        when (timestepSpacing) {
            "leading" -> IntArray(steps) { (steps - it) * (end / (steps + 1)) + stepsOffset }
            "linspace" ->
                IntArray(steps) { Math.rint(linspace(end - 1, steps + 1, steps - it)).toInt() }
            else -> trailing(end, steps)
        }

    private fun trailing(end: Int, steps: Int): IntArray {
        val gap = total.toDouble() / steps
        // As numpy.arange, whose rounding can give one timestep more than steps.
        val count = Math.ceil(end / gap).toInt()
        return IntArray(count) { Math.rint(end - it * gap).toInt() - 1 }
    }

    /** Returns the original sample that a prediction means; sample = alpha · original + sigma · noise. */
    fun original(output: Float, sample: Float, alpha: Float, sigma: Float): Float =
        when (predictionType) {
            "epsilon" -> (sample - sigma * output) / alpha
            "v_prediction" -> alpha * sample - sigma * output
            else -> output
        }

    /** Returns the noise that a prediction means. */
    fun noise(output: Float, sample: Float, alpha: Float, sigma: Float): Float =
        when (predictionType) {
            "epsilon" -> output
            "v_prediction" -> alpha * output + sigma * sample
            else -> (sample - alpha * output) / sigma
        }

    /** Returns the original sample, where the sample is original + sigma · noise. */
    fun originalAtSigma(output: Float, sample: Float, sigma: Float): Float =
        when (predictionType) {
            "epsilon" -> sample - sigma * output
            "v_prediction" -> {
                val variance = sigma * sigma + 1f
                output * (-sigma / sqrt(variance)) + sample / variance
            }
            else -> output
        }

    private fun betas(start: Double, end: Double): FloatArray =
        when (betaSchedule) {
            "linear" -> torchLinspace(start, end, total)
            "scaled_linear" ->
                torchLinspace(start.pow(0.5), end.pow(0.5), total).also { roots ->
                    for (index in roots.indices) roots[index] *= roots[index]
                }
            else ->
                FloatArray(total) {
                    val ratio =
                        cosineBar((it + 1).toDouble() / total) / cosineBar(it.toDouble() / total)
                    min(1 - ratio, LARGEST_BETA).toFloat()
                }
        }

    companion object {
        private const val LARGEST_BETA = 0.999
        private const val LEAST_PRODUCT = 1f / (1 shl 24)
        private const val KARRAS_RHO = 7.0

        /** Returns element [index] of numpy.linspace(0, last, count). */
        fun linspace(last: Int, count: Int, index: Int): Double =
            when {
                count == 1 -> 0.0
                index == count - 1 -> last.toDouble()
                else -> index * (last.toDouble() / (count - 1))
            }

        /** Returns the noise level at a fractional training timestep. */
        fun interpolated(sigmas: FloatArray, timestep: Double): Double {
            val low = timestep.toInt().coerceIn(0, sigmas.size - 2)
            val share = (timestep - low).coerceIn(0.0, 1.0)
            return sigmas[low] + share * (sigmas[low + 1].toDouble() - sigmas[low])
        }

        /** Returns falling noise levels that are even in sigma^(1/7) (arXiv 2206.00364, eq. 5). */
        fun karras(largest: Double, smallest: Double, steps: Int): DoubleArray {
            val least = smallest.pow(1 / KARRAS_RHO)
            val most = largest.pow(1 / KARRAS_RHO)
            return DoubleArray(steps) {
                (most + linspace(1, steps, it) * (least - most)).pow(KARRAS_RHO)
            }
        }

        /** Returns the fractional training timestep of a noise level, even in log sigma. */
        fun timestepOf(sigma: Double, training: FloatArray): Double {
            val wanted = ln(maxOf(sigma, 1e-10))
            fun log(index: Int): Float = ln(training[index].toDouble()).toFloat()
            var low = training.size - 2
            while (low > 0 && log(low) > wanted) low--
            val gap = (log(low) - log(low + 1)).toDouble()
            val share = ((log(low) - wanted) / gap).coerceIn(0.0, 1.0)
            return (1 - share) * low + share * (low + 1)
        }

        private fun cosineBar(t: Double): Double = cos((t + 0.008) / 1.008 * Math.PI / 2).pow(2)

        private fun cumulativeProducts(betas: FloatArray): FloatArray {
            var product = 1.0 // torch multiplies in float64 and rounds each product
            return FloatArray(betas.size) {
                product *= (1f - betas[it]).toDouble()
                product.toFloat()
            }
        }

        /** Returns betas whose last timestep is pure noise (arXiv 2305.08891, algorithm 1). */
        private fun rescaled(betas: FloatArray): FloatArray {
            val roots = cumulativeProducts(betas).map { sqrt(it) }
            val first = roots.first()
            val last = roots.last()
            val bars = roots.map { root ->
                val moved = (root - last) * (first / (first - last))
                moved * moved
            }
            return FloatArray(betas.size) { 1f - if (it == 0) bars[0] else bars[it] / bars[it - 1] }
        }

        /** torch.linspace in float32: steps from both ends, with one rounding each. */
        private fun torchLinspace(start: Double, end: Double, count: Int): FloatArray {
            val first = start.toFloat()
            val last = end.toFloat()
            if (count == 1) return floatArrayOf(first)
            val step = ((last - first) / (count - 1).toFloat()).toDouble()
            return FloatArray(count) {
                if (it < count / 2) {
                    (first.toDouble() + step * it).toFloat()
                } else {
                    (last.toDouble() - step * (count - 1 - it)).toFloat()
                }
            }
        }
    }
}

/** Returns e to the power of [value], correctly rounded. */
internal fun exp32(value: Float): Float = exp(value.toDouble()).toFloat()

/** Returns the natural logarithm, correctly rounded; that of 0 is minus infinity. */
internal fun log32(value: Float): Float = ln(value.toDouble()).toFloat()
