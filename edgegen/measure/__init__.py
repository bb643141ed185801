"""Measuring packages on devices: what is run, and what is kept of it, raw."""
