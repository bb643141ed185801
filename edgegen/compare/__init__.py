"""Compares two packages of a model, two measurements or two evaluations, and finds regressions."""
