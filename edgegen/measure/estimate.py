"""About how long a benchmark takes on this machine: right within a factor of three or so."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from edgegen_runner.generation import guided_calls
from edgegen_runner.schedulers import calls_of

from edgegen.core.measurement import Workload
from edgegen.core.package import GoldenCase, PackageManifest
from edgegen.measure.planned_run import PlannedRun

_LAUNCH_S = 1.0
_COLD_READ_BYTES_PER_S = 400e6
_WARM_READ_BYTES_PER_S = 2e9
# Floating-point operations for each parameter and latent pixel. SD 1.5 at 512 × 512: 0.8e12 for
# 860e6 parameters and 64 × 64 latents; SDXL at 1024 × 1024: 6.0e12 for 2.6e9 and 128 × 128. The
# decoder: 2.5e12 for 49.5e6 and 64 × 64.
_DENOISER_OPERATIONS = 0.2
_DECODER_OPERATIONS = 12.0
_SHARE_OF_MATMUL_SPEED = 0.5
_SECONDS_A_PARAMETER = 1e-9  # each call reads, and may convert, every weight


def estimate_s(
    manifest: PackageManifest,
    workload: Workload,
    runs: Sequence[PlannedRun],
    package_bytes: int,
) -> float:
    """Estimate the whole time from the sizes of the components and a multiplication timed here."""
    speed = _matmul_operations_per_s() * _SHARE_OF_MATMUL_SPEED
    total_s = 0.0
    for run in runs:
        if run.kind == "golden" and manifest.golden is not None:
            case = manifest.golden
            image_s = _image_s(manifest, speed, case)
        else:
            image_s = _image_s(manifest, speed, workload)
        rate = _COLD_READ_BYTES_PER_S if run.kind == "cold" else _WARM_READ_BYTES_PER_S
        images_s = (run.images + run.warmup_images) * image_s
        if run.duration_s is not None:
            images_s = run.warmup_images * image_s + max(run.duration_s, image_s)
        total_s += _LAUNCH_S + images_s + package_bytes / rate
    return total_s


def _image_s(manifest: PackageManifest, speed: float, drawn: Workload | GoldenCase) -> float:
    latents = drawn.width * drawn.height / manifest.generation.vae_scale_factor**2
    guided = manifest.facts.is_guided(drawn.guidance)
    denoised = calls_of(drawn.scheduler, drawn.steps)
    part = guided_calls(drawn.guidance_start, drawn.guidance_stop, denoised)
    whole = math.ceil(denoised / drawn.cache_interval)
    steps = {"denoiser": whole, "shallow_denoiser": denoised - whole, "controlnet": denoised}
    total_s = 0.0
    for component in (packaged.spec for packaged in manifest.components):
        calls = {**steps, "encoder": 0}.get(component.role, 1)
        operations = 0.0  # a text encoder's do not count beside the denoiser's
        if component.role in steps:
            samples = 1 + guided * (manifest.facts.predictions - 1) * len(part) / denoised
            operations = _DENOISER_OPERATIONS * component.parameters * latents * samples
        elif component.role == "decoder":
            operations = _DECODER_OPERATIONS * component.parameters * latents
        total_s += calls * (operations / speed + component.parameters * _SECONDS_A_PARAMETER)
    return total_s


def _matmul_operations_per_s(size: int = 384, least_s: float = 0.05) -> float:
    """Time single-precision matrix products until `least_s` is over; the fastest one counts."""
    import numpy as np

    matrix = np.ones((size, size), np.float32)
    best_s, until = math.inf, time.perf_counter() + least_s
    while time.perf_counter() < until:
        started = time.perf_counter()
        matrix @ matrix
        best_s = min(best_s, time.perf_counter() - started)
    return 2 * size**3 / best_s
