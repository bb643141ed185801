"""Benchmarks of packages: what is run, what is kept, and how sure the figures are."""
