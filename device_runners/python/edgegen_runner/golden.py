"""The check that a device makes the images that it should.

The golden case holds what torch computed in float32: a probe of each component, the latents after
each step of a short run, and its image. Thresholds are the recipe's.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from .backends import Backend
from .errors import RunnerFailure
from .events import Emit
from .job import GoldenJob
from .package import Golden, Package, load_package
from .pipelines import open_pipeline
from .probe import load_array
from .request import Request
from .residency import Components

Array = npt.NDArray[Any]

IMAGE_PEAK = 2.0
"""The range of an image in −1…1."""


def check(job: GoldenJob, backend: Backend, emit: Emit) -> None:
    """Emit a ``check`` event for each comparison; a failed one does not end the job.

    Raises RunnerFailure (bad-package) where the package has no golden case, or a broken one.
    """
    package = load_package(job.package, verify=job.verify)
    if package.golden is None:
        raise RunnerFailure(
            "bad-package", f"{package.folder} has no golden case.", "Build the package again."
        )
    components = Components(package, backend, job.residency, emit)
    try:
        _check_components(package, package.golden, components, emit)
        _check_images(package, package.golden, components, emit)
    finally:
        components.close()


def _check_components(package: Package, golden: Golden, components: Components, emit: Emit) -> None:
    for component in package.components.values():
        inputs = {
            name: golden.folder / f"{component.name}.in.{name}.npy" for name in component.inputs
        }
        if not all(path.is_file() for path in inputs.values()):
            continue
        outputs = components.run(component.name, {n: _load(path) for n, path in inputs.items()})
        for name, value in outputs.items():
            path = golden.folder / f"{component.name}.out.{name}.npy"
            if path.is_file():
                compared = compare(_load(path), value, package.tolerance.component_psnr_db)
                emit("check", layer="component", name=f"{component.name}.{name}", **compared)


def _check_images(package: Package, golden: Golden, components: Components, emit: Emit) -> None:
    """Draw the golden image from its seed, and compare the latents on the way and the pixels."""
    pipeline = open_pipeline(components, _request(golden))
    conditioning = pipeline.encode(golden.prompt)
    start = pipeline.prepare(golden.seed)
    latents = start.latents
    for step in pipeline.denoise(conditioning, start):
        latents = step.latents
        path = golden.folder / f"trajectory.{step.index}.npy"
        if path.is_file():
            compared = compare(_load(path), latents, package.tolerance.trajectory_psnr_db)
            emit("check", layer="trajectory", name=f"step {step.index}", **compared)
    image, expected = pipeline.decode(latents), _load(golden.folder / "image.npy")
    threshold_db = package.tolerance.image_psnr_db
    compared = compare(_levels(expected), _levels(image), threshold_db, peak=IMAGE_PEAK)
    emit("check", layer="image", name="image", **compared)


def _request(golden: Golden) -> Request:
    starts_from_picture = golden.strength is not None
    mask = golden.folder / "mask.png"
    return Request(
        prompts=None if golden.prompt is None else (golden.prompt,),
        negative_prompt=golden.negative_prompt,
        steps=golden.steps,
        guidance=golden.guidance,
        scheduler=golden.scheduler,
        seed=golden.seed,
        width=golden.width,
        height=golden.height,
        strength=golden.strength,
        image=golden.folder / "input.png" if starts_from_picture else None,
        mask=mask if starts_from_picture and mask.is_file() else None,
    )


def _levels(image: Array) -> Array:
    """Round an image in −1…1 to what eight bits hold, as it is saved."""
    levels = np.rint(np.clip((image + 1) / 2, 0, 1) * np.float32(255))
    return (levels / np.float32(127.5) - 1).astype(np.float32)


def compare(
    expected: Array, value: Array, threshold_db: float, *, peak: Optional[float] = None
) -> dict[str, Any]:
    """Return the fields of a ``check``: PSNR over the range of what is expected, and the verdict.

    ``psnr_db`` is None where both are equal or one is not finite, or has another shape.
    """
    if expected.shape != value.shape or not np.isfinite(value).all():
        return _verdict(None, threshold_db, None, False)
    difference = expected.astype(np.float64) - value
    largest = float(np.abs(difference).max()) if difference.size else 0.0
    error = float(np.mean(difference * difference)) if difference.size else 0.0
    if error == 0:
        return _verdict(None, threshold_db, 0.0, True)
    span = float(expected.max()) - float(expected.min()) if peak is None else peak
    if span <= 0:
        return _verdict(None, threshold_db, largest, False)
    psnr_db = 20 * math.log10(span) - 10 * math.log10(error)
    return _verdict(psnr_db, threshold_db, largest, psnr_db >= threshold_db)


def _verdict(
    psnr_db: Optional[float], threshold_db: float, largest: Optional[float], passed: bool
) -> dict[str, Any]:
    return {
        "psnr_db": psnr_db,
        "threshold_db": threshold_db,
        "max_abs_error": largest,
        "passed": passed,
    }


def _load(path: Path) -> Array:
    return load_array(path, "bad-package")
