"""Reads diffusers pipelines: families, components, inputs and outputs; weights stay on disk."""
