"""Torch runs to compare with: streamed weights, probes of the components, trajectories, images."""
