package edgegen.kit

import kotlin.math.cos
import kotlin.math.min
import kotlin.math.pow
import kotlin.math.sqrt

/**
 * Denoising diffusion implicit models (arXiv 2010.02502) without noise: the numbers of
 * edgegen_runner/schedulers/ddim.py, which are those of diffusers' DDIMScheduler.
 *
 * Coefficients and samples are float32 throughout, as they are there.
 */
class DdimScheduler(private val options: Options) {
    /** What scheduler/scheduler_config.json says; defaults are those of diffusers. */
    data class Options(
        val trainTimesteps: Int = 1000,
        val betaStart: Double = 0.0001,
        val betaEnd: Double = 0.02,
        val betaSchedule: String = "linear",
        val predictionType: String = "epsilon",
        val timestepSpacing: String = "leading",
        val stepsOffset: Int = 0,
        val setAlphaToOne: Boolean = true,
        val clipSample: Boolean = true,
        val clipSampleRange: Float = 1f,
    )

    private val products: FloatArray = cumulativeProducts(options)
    private val finalProduct = if (options.setAlphaToOne) 1f else products[0]

    /** The training timesteps that are visited, falling, and how far apart they are. */
    class Trajectory(val timesteps: IntArray, internal val stride: Int)

    /** Plans a trajectory. Throws IllegalArgumentException for a number of steps out of range. */
    fun trajectory(steps: Int): Trajectory {
        val total = options.trainTimesteps
        require(steps in 1..total) { "DDIM takes 1 to $total steps, not $steps." }
        val stride = total / steps
        val timesteps =
            when (options.timestepSpacing) {
                "leading" -> IntArray(steps) { (steps - 1 - it) * stride + options.stepsOffset }
                "linspace" -> IntArray(steps) { linspace(total - 1, steps, steps - 1 - it) }
                else -> trailing(total, steps)
            }
        return Trajectory(timesteps, stride)
    }

    /**
     * Returns the sample of the next timestep (equation 12).
     *
     * [prediction] and [sample] are float32 of the same shape; neither is changed.
     */
    fun step(
        trajectory: Trajectory,
        index: Int,
        prediction: FloatArray,
        sample: FloatArray,
    ): FloatArray {
        val now = trajectory.timesteps[index]
        val before = now - trajectory.stride
        val product = products[now]
        val productBefore = if (before >= 0) products[before] else finalProduct
        val alpha = sqrt(product)
        val sigma = sqrt(1f - product)
        val alphaBefore = sqrt(productBefore)
        val sigmaBefore = sqrt(1f - productBefore)
        val limit = options.clipSampleRange
        return FloatArray(sample.size) {
            val x = sample[it]
            val output = prediction[it]
            var original: Float
            val noise: Float
            when (options.predictionType) {
                "epsilon" -> {
                    original = (x - sigma * output) / alpha
                    noise = output
                }
                "v_prediction" -> {
                    original = alpha * x - sigma * output
                    noise = alpha * output + sigma * x
                }
                else -> {
                    original = output
                    noise = (x - alpha * output) / sigma
                }
            }
            if (options.clipSample) original = original.coerceIn(-limit, limit)
            alphaBefore * original + sigmaBefore * noise
        }
    }

    companion object {
        private const val LARGEST_BETA = 0.999

        /**
         * Makes the scheduler of a scheduler_config.json, whichever scheduler it names.
         *
         * As diffusers' Stable Diffusion pipelines, it lets timesteps begin at 1 and does not clip.
         * Throws IllegalArgumentException for an option that this kit does not have.
         */
        fun fromConfig(config: Map<String, Any?>): DdimScheduler {
            val defaulted = (config["_use_default_values"] as? List<*>).orEmpty()
            val given = config.filterKeys { it !in defaulted }.toMutableMap()
            val own = config["_class_name"] == "DDIMScheduler"
            for ((key, corrected) in mapOf("steps_offset" to 1.0, "clip_sample" to false)) {
                if (own || key in given) given[key] = corrected
            }
            fun number(key: String, default: Double) = given[key] as? Double ?: default
            fun word(key: String, default: String, choices: Set<String>): String {
                val value = given[key] as? String ?: default
                require(value in choices) { "The kit's DDIM does not support $key=$value." }
                return value
            }
            for (key in listOf("thresholding", "rescale_betas_zero_snr")) {
                require(given[key] != true) { "The kit's DDIM does not support $key." }
            }
            require(given["trained_betas"] == null) { "The kit's DDIM has no trained_betas." }
            return DdimScheduler(
                Options(
                    trainTimesteps = number("num_train_timesteps", 1000.0).toInt(),
                    betaStart = number("beta_start", 0.0001),
                    betaEnd = number("beta_end", 0.02),
                    betaSchedule =
                        word(
                            "beta_schedule",
                            "linear",
                            setOf("linear", "scaled_linear", "squaredcos_cap_v2"),
                        ),
                    predictionType =
                        word(
                            "prediction_type",
                            "epsilon",
                            setOf("epsilon", "v_prediction", "sample"),
                        ),
                    timestepSpacing =
                        word(
                            "timestep_spacing",
                            "leading",
                            setOf("leading", "linspace", "trailing"),
                        ),
                    stepsOffset = number("steps_offset", 0.0).toInt(),
                    setAlphaToOne = given["set_alpha_to_one"] as? Boolean ?: true,
                    clipSample = given["clip_sample"] as? Boolean ?: true,
                    clipSampleRange = number("clip_sample_range", 1.0).toFloat(),
                ),
            )
        }

        private fun cumulativeProducts(options: Options): FloatArray {
            val betas = betas(options)
            var product = 1.0 // torch multiplies in float64 and rounds each product
            return FloatArray(betas.size) {
                product *= (1f - betas[it]).toDouble()
                product.toFloat()
            }
        }

        private fun betas(options: Options): FloatArray {
            val count = options.trainTimesteps
            return when (options.betaSchedule) {
                "linear" -> torchLinspace(options.betaStart, options.betaEnd, count)
                "scaled_linear" ->
                    torchLinspace(options.betaStart.pow(0.5), options.betaEnd.pow(0.5), count)
                        .also { roots ->
                            for (index in roots.indices) roots[index] *= roots[index]
                        }
                else ->
                    FloatArray(count) {
                        val ratio =
                            cosineBar((it + 1).toDouble() / count) / cosineBar(it.toDouble() / count)
                        min(1 - ratio, LARGEST_BETA).toFloat()
                    }
            }
        }

        private fun cosineBar(t: Double): Double = cos((t + 0.008) / 1.008 * Math.PI / 2).pow(2)

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

        private fun linspace(last: Int, count: Int, index: Int): Int {
            if (count == 1) return 0
            if (index == count - 1) return last
            return Math.rint(index * (last.toDouble() / (count - 1))).toInt()
        }

        private fun trailing(total: Int, steps: Int): IntArray {
            val gap = total.toDouble() / steps
            // As numpy.arange, whose rounding can give one timestep more than steps.
            val count = Math.ceil(total / gap).toInt()
            return IntArray(count) { Math.rint(total - it * gap).toInt() - 1 }
        }
    }
}
