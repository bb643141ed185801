package edgegen.kit

import kotlin.math.sqrt

/**
 * Pseudo numerical methods (arXiv 2202.09778) without Runge-Kutta steps, as Stable Diffusion uses
 * them: the numbers of edgegen_runner/schedulers/pndm.py, which are those of diffusers'
 * PNDMScheduler. It makes one call more than steps.
 */
class PndmScheduler(config: SchedulerConfig) : Scheduler {
    private val schedule = NoiseSchedule(config, spacing = "leading")
    private val finalProduct =
        if (config.flag("set_alpha_to_one", false)) 1f else schedule.products[0]

    init {
        config.word("prediction_type", "epsilon", "v_prediction")
        if (!config.flag("skip_prk_steps", false)) {
            throw PackageException(
                "This kit's PNDMScheduler has no Runge-Kutta steps: it needs skip_prk_steps. " +
                    "Package the model with another scheduler: edgegen package --scheduler.",
            )
        }
    }

    override fun trajectory(steps: Int): Trajectory {
        schedule.check(steps)
        val spaced = schedule.wholeTimesteps(steps).toList()
        val visited = spaced.take(1) + spaced.drop(1).take(1) + spaced.drop(1)
        return Multistep(visited.toIntArray(), schedule.total / steps)
    }

    private inner class Multistep(private val visited: IntArray, private val stride: Int) :
        Trajectory {
        override val timesteps = visited.map { it.toFloat() }.toFloatArray()
        private var outputs = emptyList<FloatArray>() // the newest first
        private var held: FloatArray? = null

        override fun step(
            index: Int,
            prediction: FloatArray,
            sample: FloatArray,
            noise: Noise,
        ): FloatArray {
            val timestep = visited[index]
            val first = held
            if (index == 1 && first != null) { // the first step once more, by its midpoint
                held = null
                val before = outputs[0]
                val middle = FloatArray(sample.size) { (prediction[it] + before[it]) / 2f }
                return moved(first, timestep + stride, timestep, middle)
            }
            outputs = listOf(prediction) + outputs.take(3)
            if (index == 0) held = sample
            return moved(sample, timestep, timestep - stride, adamsBashforth())
        }

        private fun adamsBashforth(): FloatArray {
            if (outputs.size == 1) return outputs[0]
            val (weights, divisor) = MULTISTEP.getValue(outputs.size)
            return FloatArray(outputs[0].size) { place ->
                var sum = weights[0] * outputs[0][place]
                for (number in 1 until weights.size) sum += weights[number] * outputs[number][place]
                sum / divisor
            }
        }
    }

    /** Returns the sample at timestep [end] from that at [start] (equation 9). */
    private fun moved(sample: FloatArray, start: Int, end: Int, output: FloatArray): FloatArray {
        val product = schedule.products[start]
        val productEnd = if (end >= 0) schedule.products[end] else finalProduct
        val beta = 1f - product
        val alpha = sqrt(product)
        val sigma = sqrt(beta)
        val divisor = product * sqrt(1f - productEnd) + sqrt(product * beta * productEnd)
        val kept = sqrt(productEnd / product)
        val added = (product - productEnd) / divisor
        return FloatArray(sample.size) {
            kept * sample[it] + added * schedule.noise(output[it], sample[it], alpha, sigma)
        }
    }

    private companion object {
        /** Adams-Bashforth: weights of the predictions, the newest first, and their divisor. */
        val MULTISTEP = mapOf(
            2 to Pair(floatArrayOf(3f, -1f), 2f),
            3 to Pair(floatArrayOf(23f, -16f, 5f), 12f),
            4 to Pair(floatArrayOf(55f, -59f, 37f, -9f), 24f),
        )
    }
}
