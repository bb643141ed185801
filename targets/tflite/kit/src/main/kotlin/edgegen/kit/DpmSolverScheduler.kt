package edgegen.kit

import kotlin.math.min
import kotlin.math.sqrt

/**
 * DPM-Solver++ (arXiv 2211.01095), multistep of order 1 or 2, deterministic or not: the numbers of
 * edgegen_runner/schedulers/dpmsolver.py, which are those of diffusers' DPMSolverMultistepScheduler.
 */
class DpmSolverScheduler(config: SchedulerConfig) : Scheduler {
    private val schedule = NoiseSchedule(config, finiteSigma = true)
    private val training = schedule.trainingSigmas()
    private val order = config.whole("solver_order", 2)
    private val midpoint = config.word("solver_type", "midpoint", "heun") == "midpoint"
    private val stochastic =
        config.word("algorithm_type", "dpmsolver++", "sde-dpmsolver++") == "sde-dpmsolver++"
    private val lowerOrderFinal = config.flag("lower_order_final", true)
    private val eulerAtFinal = config.flag("euler_at_final", false)
    private val karras = config.flag("use_karras_sigmas", false)
    private val largest = config.numberOrNull("sigma_max") ?: training.last().toDouble()
    private val smallest = config.numberOrNull("sigma_min") ?: training.first().toDouble()
    private val endsAtZero = config.word("final_sigmas_type", "zero", "sigma_min") == "zero"
    private val end: Int

    init {
        config.refuse(
            "use_exponential_sigmas",
            "use_beta_sigmas",
            "use_lu_lambdas",
            "use_flow_sigmas",
            "variance_type",
        )
        if (order !in 1..2) throw PackageException("This kit's DPM-Solver has no order $order.")
        val least = config.number("lambda_min_clipped", Double.NEGATIVE_INFINITY).toFloat()
        end = schedule.products.count { log32(sqrt(it)) - log32(sqrt(1f - it)) >= least }
    }

    override fun trajectory(steps: Int): Trajectory {
        schedule.check(steps)
        val visited = schedule.solverTimesteps(steps, end)
        if (!karras) {
            val levels = visited.map { NoiseSchedule.interpolated(training, it.toDouble()) }
            return Multistep(visited, levels)
        }
        val levels = NoiseSchedule.karras(largest, smallest, steps).toList()
        val rounds = schedule.betaSchedule != "squaredcos_cap_v2"
        val places = levels.map { NoiseSchedule.timestepOf(it, training) }
        val timesteps = places.map { if (rounds) Math.rint(it).toInt() else it.toInt() }
        return Multistep(timesteps.toIntArray(), levels)
    }

    private inner class Multistep(visited: IntArray, levels: List<Double>) : Trajectory {
        override val timesteps = visited.map { it.toFloat() }.toFloatArray()
        private val alphas: FloatArray
        private val sigmas: FloatArray
        private val lambdas: FloatArray // half the log of the signal-to-noise ratio
        private var originals = emptyList<FloatArray>() // the newest first
        private var made = 0

        init {
            val last = if (endsAtZero) 0f else training[0]
            val all = levels.map { it.toFloat() } + last
            alphas = FloatArray(all.size) { 1f / sqrt(all[it] * all[it] + 1f) }
            sigmas = FloatArray(all.size) { all[it] * alphas[it] }
            lambdas = FloatArray(all.size) { log32(alphas[it]) - log32(sigmas[it]) }
        }

        override fun step(
            index: Int,
            prediction: FloatArray,
            sample: FloatArray,
            noise: Noise,
        ): FloatArray {
            val newest = FloatArray(sample.size) {
                schedule.original(prediction[it], sample[it], alphas[index], sigmas[index])
            }
            originals = listOf(newest) + originals.take(order - 1)
            val weights = weights(index, orderAt(index))
            made++
            val older = if (weights.older == 0f) newest else originals[1]
            val drawn = if (stochastic) noise(sample.size) else null
            return FloatArray(sample.size) {
                var sum = weights.sample * sample[it] + weights.newest * newest[it]
                if (weights.older != 0f) sum += weights.older * older[it]
                if (drawn != null) sum += weights.noise * drawn[it]
                sum
            }
        }

        private fun orderAt(index: Int): Int {
            val left = timesteps.size - index
            val lowered = lowerOrderFinal && timesteps.size < FEW_STEPS
            if (left == 1 && (lowered || eulerAtFinal || endsAtZero)) return 1
            return min(order, made + 1)
        }

        /** Returns the weights of one step (edgegen_runner/schedulers/dpmsolver_update.py). */
        private fun weights(index: Int, order: Int): Weights {
            val h = lambdas[index + 1] - lambdas[index]
            val alpha = alphas[index + 1]
            val ratio = sigmas[index + 1] / sigmas[index]
            val scale = if (stochastic) 2f * h else h
            val phi = 1f - exp32(-scale)
            val first = alpha * phi
            val second = when {
                order == 1 -> 0f
                midpoint -> 0.5f * first
                else -> alpha * (1f - phi / scale)
            }
            val older = if (order == 1) 0f else second / ((lambdas[index] - lambdas[index - 1]) / h)
            return Weights(
                sample = if (stochastic) ratio * exp32(-h) else ratio,
                newest = first + older,
                older = -older,
                noise = sigmas[index + 1] * sqrt(phi),
            )
        }
    }

    private class Weights(
        val sample: Float,
        val newest: Float,
        val older: Float,
        val noise: Float,
    )

    private companion object {
        const val FEW_STEPS = 15 // below which lower_order_final takes effect
    }
}
