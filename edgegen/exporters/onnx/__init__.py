"""Writes ONNX: a captured graph over a table of operators, and weights streamed beside it."""
