"""Turn diffusers pipelines into packages that run, and are measured, on devices."""

__version__ = "0.1.0"
