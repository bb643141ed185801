"""TFLite: one flatbuffer a component, its weights streamed behind the graph."""
