package edgegen.kit

/** Draws so many standard normals, as diffusers' `randn_tensor` does when a step wants noise. */
typealias Noise = (Int) -> FloatArray

/** A diffusion scheduler with the numbers of the diffusers class of its name. */
interface Scheduler {
    /** Plans a trajectory. Throws IllegalArgumentException for a number of steps out of range. */
    fun trajectory(steps: Int): Trajectory
}

/** One way from noise to an image; a multistep method keeps its last predictions here. */
interface Trajectory {
    /** The timestep of each call of the denoiser, falling. */
    val timesteps: FloatArray

    /** The standard deviation of the first sample. */
    val firstDeviation: Float
        get() = 1f

    /** Returns the sample as the denoiser takes it at call [index]. */
    fun scaled(index: Int, sample: FloatArray): FloatArray = sample

    /**
     * Returns the sample after call [index]; the calls are made in order, each once.
     *
     * [prediction] and [sample] (not scaled) are float32 of the same shape; neither is changed.
     */
    fun step(index: Int, prediction: FloatArray, sample: FloatArray, noise: Noise): FloatArray
}

/** The schedulers of this kit, by the name of their diffusers class. */
object Schedulers {
    private val makers: Map<String, (SchedulerConfig) -> Scheduler> =
        mapOf(
            "DDIMScheduler" to ::DdimScheduler,
            "DPMSolverMultistepScheduler" to ::DpmSolverScheduler,
            "EulerAncestralDiscreteScheduler" to ::EulerAncestralScheduler,
            "EulerDiscreteScheduler" to ::EulerScheduler,
            "LCMScheduler" to ::LcmScheduler,
            "PNDMScheduler" to ::PndmScheduler,
        )

    /**
     * Makes the scheduler that a scheduler_config.json names.
     *
     * As diffusers' Stable Diffusion pipelines, it lets timesteps begin at 1 and does not clip.
     * Throws PackageException for a scheduler, or an option of one, that this kit does not have.
     */
    fun of(config: Map<String, Any?>): Scheduler {
        val name = config["_class_name"]
        val maker = makers[name] ?: throw PackageException(
            "The package draws with $name, and this kit has ${makers.keys.joinToString()}. " +
                "Package the model with one of them: edgegen package --scheduler.",
        )
        return maker(SchedulerConfig(name as String, config + CORRECTIONS))
    }

    private val CORRECTIONS = mapOf("steps_offset" to 1.0, "clip_sample" to false)
}

/** The options of a scheduler_config.json; what is missing, or null, has diffusers' default. */
class SchedulerConfig(private val name: String, private val values: Map<String, Any?>) {
    fun number(key: String, default: Double): Double = numberOrNull(key) ?: default

    fun numberOrNull(key: String): Double? =
        values[key]?.let { it as? Double ?: throw unsupported(key) }

    fun whole(key: String, default: Int): Int = number(key, default.toDouble()).toInt()

    fun flag(key: String, default: Boolean): Boolean =
        values[key]?.let { it as? Boolean ?: throw unsupported(key) } ?: default

    fun word(key: String, default: String, vararg others: String): String {
        val value = values[key] ?: default
        if (value !is String || value !in others && value != default) throw unsupported(key)
        return value
    }

    /** Refuses options of diffusers that this kit does not have, where they are set. */
    fun refuse(vararg keys: String) {
        for (key in keys) if (values[key] != null && values[key] != false) throw unsupported(key)
    }

    private fun unsupported(key: String) = PackageException(
        "This kit's $name does not support $key=${values[key]}. " +
            "Package the model with another scheduler: edgegen package --scheduler.",
    )
}
