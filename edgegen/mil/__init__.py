"""Core ML's model files: their messages, their weights, and an executor for their programs."""
