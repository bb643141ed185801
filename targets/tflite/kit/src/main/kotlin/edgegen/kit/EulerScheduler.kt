package edgegen.kit

import kotlin.math.sqrt

/**
 * Euler's method over noise levels (arXiv 2206.00364): the numbers of
 * edgegen_runner/schedulers/euler.py, which are those of diffusers' EulerDiscreteScheduler.
 */
class EulerScheduler(config: SchedulerConfig) : Scheduler {
    private val schedule = NoiseSchedule(config, finiteSigma = true)
    private val training = schedule.trainingSigmas()
    private val karras = config.flag("use_karras_sigmas", false)
    private val largest = config.numberOrNull("sigma_max")
    private val smallest = config.numberOrNull("sigma_min")
    private val endsAtZero = config.word("final_sigmas_type", "zero", "sigma_min") == "zero"

    init {
        config.refuse("use_exponential_sigmas", "use_beta_sigmas")
        config.word("interpolation_type", "linear")
        config.word("timestep_type", "discrete")
    }

    override fun trajectory(steps: Int): Trajectory {
        schedule.check(steps)
        var visited = schedule.fractionalTimesteps(steps)
        var levels = levels(training, visited)
        if (karras) {
            val ends = Pair(largest ?: levels.first(), smallest ?: levels.last())
            levels = NoiseSchedule.karras(ends.first, ends.second, steps)
            visited = FloatArray(steps) {
                NoiseSchedule.timestepOf(levels[it], training).toFloat()
            }
        }
        val last = if (endsAtZero) 0f else training[0]
        return object : SigmaTrajectory(schedule, visited, levels, last) {
            override fun step(
                index: Int,
                prediction: FloatArray,
                sample: FloatArray,
                noise: Noise,
            ): FloatArray = moved(index, sigmas[index + 1], prediction, sample)
        }
    }
}

/**
 * Euler's method with ancestral noise: the numbers of edgegen_runner/schedulers/euler_ancestral.py,
 * which are those of diffusers' EulerAncestralDiscreteScheduler.
 */
class EulerAncestralScheduler(config: SchedulerConfig) : Scheduler {
    private val schedule = NoiseSchedule(config, finiteSigma = true)
    private val training = schedule.trainingSigmas()

    override fun trajectory(steps: Int): Trajectory {
        schedule.check(steps)
        val visited = schedule.fractionalTimesteps(steps)
        return object : SigmaTrajectory(schedule, visited, levels(training, visited), 0f) {
            override fun step(
                index: Int,
                prediction: FloatArray,
                sample: FloatArray,
                noise: Noise,
            ): FloatArray {
                val start = sigmas[index] * sigmas[index]
                val end = sigmas[index + 1] * sigmas[index + 1]
                val up = sqrt(end * (start - end) / start)
                val moved = moved(index, sqrt(end - up * up), prediction, sample)
                val drawn = noise(sample.size)
                return FloatArray(sample.size) { moved[it] + up * drawn[it] }
            }
        }
    }
}

/** A trajectory over noise levels: those of its calls, and the one that the last call ends at. */
abstract class SigmaTrajectory(
    private val schedule: NoiseSchedule,
    override val timesteps: FloatArray,
    levels: DoubleArray,
    last: Float,
) : Trajectory {
    protected val sigmas = FloatArray(levels.size + 1) {
        if (it < levels.size) levels[it].toFloat() else last
    }

    override val firstDeviation: Float
        get() {
            val most = sigmas.max()
            return if (schedule.timestepSpacing == "leading") sqrt(most * most + 1f) else most
        }

    override fun scaled(index: Int, sample: FloatArray): FloatArray {
        val deviation = sqrt(sigmas[index] * sigmas[index] + 1f)
        return FloatArray(sample.size) { sample[it] / deviation }
    }

    /** Returns the sample at noise level [end], straight along the derivative at call [index]. */
    protected fun moved(
        index: Int,
        end: Float,
        prediction: FloatArray,
        sample: FloatArray,
    ): FloatArray {
        val sigma = sigmas[index]
        return FloatArray(sample.size) {
            val original = schedule.originalAtSigma(prediction[it], sample[it], sigma)
            (sample[it] - original) / sigma * (end - sigma) + sample[it]
        }
    }
}

private fun levels(training: FloatArray, timesteps: FloatArray): DoubleArray =
    DoubleArray(timesteps.size) {
        NoiseSchedule.interpolated(training, timesteps[it].toDouble())
    }
