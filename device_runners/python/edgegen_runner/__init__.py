"""Run a diffusion package on a device with the standard library, numpy and one runtime."""

__version__ = "0.1.0"
