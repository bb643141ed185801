package edgegen.kit

/** The numbers of a tensor; its shape is the model's own. */
sealed interface Values {
    /** Samples, states, moments in time. */
    class Floats(val data: FloatArray) : Values

    /** Token ids. */
    class Integers(val data: IntArray) : Values
}

/** A network that is loaded; [close] gives its memory back. */
interface Graph : AutoCloseable {
    /** Returns all outputs by name, for all inputs by name. */
    fun run(inputs: Map<String, Values>): Map<String, FloatArray>
}

/** Loads a component; `LiteRtGraph.open` is the one that apps use. */
fun interface GraphOpener {
    fun open(component: Component): Graph
}
