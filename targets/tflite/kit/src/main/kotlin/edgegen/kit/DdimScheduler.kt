package edgegen.kit

import kotlin.math.sqrt

/**
 * Denoising diffusion implicit models (arXiv 2010.02502) without noise: the numbers of
 * edgegen_runner/schedulers/ddim.py, which are those of diffusers' DDIMScheduler.
 */
class DdimScheduler(config: SchedulerConfig) : Scheduler {
    private val schedule = NoiseSchedule(config, spacing = "leading")
    private val clips = config.flag("clip_sample", true)
    private val limit = config.number("clip_sample_range", 1.0).toFloat()
    private val finalProduct =
        if (config.flag("set_alpha_to_one", true)) 1f else schedule.products[0]

    override fun trajectory(steps: Int): Trajectory {
        schedule.check(steps)
        val visited = schedule.wholeTimesteps(steps)
        val stride = schedule.total / steps
        return object : Trajectory {
            override val timesteps = visited.map { it.toFloat() }.toFloatArray()

            override fun step(
                index: Int,
                prediction: FloatArray,
                sample: FloatArray,
                noise: Noise,
            ): FloatArray = moved(visited[index], visited[index] - stride, prediction, sample)
        }
    }

    /** Returns the sample at timestep [before] from that at [now] (equation 12). */
    private fun moved(
        now: Int,
        before: Int,
        prediction: FloatArray,
        sample: FloatArray,
    ): FloatArray {
        val product = schedule.products[now]
        val productBefore = if (before >= 0) schedule.products[before] else finalProduct
        val alpha = sqrt(product)
        val sigma = sqrt(1f - product)
        val alphaBefore = sqrt(productBefore)
        val sigmaBefore = sqrt(1f - productBefore)
        return FloatArray(sample.size) {
            var original = schedule.original(prediction[it], sample[it], alpha, sigma)
            if (clips) original = original.coerceIn(-limit, limit)
            val estimate = schedule.noise(prediction[it], sample[it], alpha, sigma)
            alphaBefore * original + sigmaBefore * estimate
        }
    }
}
