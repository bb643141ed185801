"""Converts the components of a pipeline into the artifacts of a target."""
