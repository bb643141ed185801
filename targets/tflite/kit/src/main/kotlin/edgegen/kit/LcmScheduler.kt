package edgegen.kit

import kotlin.math.floor
import kotlin.math.sqrt

/**
 * Latent consistency models (arXiv 2310.04378): the numbers of edgegen_runner/schedulers/lcm.py,
 * which are those of diffusers' LCMScheduler. Noise is added after every step but the last.
 */
class LcmScheduler(config: SchedulerConfig) : Scheduler {
    private val schedule =
        NoiseSchedule(config, spacing = "leading", beta = Triple(0.00085, 0.012, "scaled_linear"))
    private val clips = config.flag("clip_sample", false)
    private val limit = config.number("clip_sample_range", 1.0).toFloat()
    private val distilledSteps = config.whole("original_inference_steps", 50)
    private val timestepScaling = config.number("timestep_scaling", 10.0).toFloat()

    override fun trajectory(steps: Int): Trajectory {
        require(distilledSteps in 1..schedule.total) {
            "original_inference_steps $distilledSteps is above ${schedule.total}."
        }
        schedule.check(steps, atMost = distilledSteps)
        val gap = schedule.total / distilledSteps
        val visited = IntArray(steps) {
            val place = floor(it * (distilledSteps.toDouble() / steps)).toInt()
            (distilledSteps - place) * gap - 1
        }
        return object : Trajectory {
            override val timesteps = visited.map { it.toFloat() }.toFloatArray()

            override fun step(
                index: Int,
                prediction: FloatArray,
                sample: FloatArray,
                noise: Noise,
            ): FloatArray {
                val denoised = denoised(visited[index], prediction, sample)
                if (index == visited.size - 1) return denoised
                val product = schedule.products[visited[index + 1]]
                val alpha = sqrt(product)
                val sigma = sqrt(1f - product)
                val drawn = noise(sample.size)
                return FloatArray(sample.size) { alpha * denoised[it] + sigma * drawn[it] }
            }
        }
    }

    private fun denoised(timestep: Int, prediction: FloatArray, sample: FloatArray): FloatArray {
        val product = schedule.products[timestep]
        val alpha = sqrt(product)
        val sigma = sqrt(1f - product)
        val moment = timestep.toFloat() * timestepScaling
        val variance = moment * moment + DATA_VARIANCE
        val skip = DATA_VARIANCE / variance // with `out`, the identity at timestep 0
        val out = moment / sqrt(variance)
        return FloatArray(sample.size) {
            var original = schedule.original(prediction[it], sample[it], alpha, sigma)
            if (clips) original = original.coerceIn(-limit, limit)
            out * original + skip * sample[it]
        }
    }

    private companion object {
        const val DATA_VARIANCE = 0.25f
    }
}
