"""The check that a device makes the images that it should.

The golden case holds what torch computed in float32: a probe of each component, the latents after
each step of a short run, and its image. Thresholds are the recipe's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Union

import numpy.typing as npt

from .arrays import load_array
from .backends import Backend
from .compare import Verdict, compare
from .errors import RunnerFailure
from .events import Emit
from .generation import PICTURE_NAMES
from .job import GoldenJob
from .memory_guard import limit_memory
from .metrics import IMAGE_PEAK
from .package import Golden, Package, Tensor, load_package
from .pipelines import open_pipeline
from .pipelines.base import Pipeline
from .png import to_float32, to_uint8
from .request import Request
from .residency import Components

Array = npt.NDArray[Any]


def check(job: GoldenJob, backend: Backend, emit: Emit) -> None:
    """Emit a ``check`` event for each comparison; a failed one does not end the job.

    Whatever cannot be compared has failed, as in the parity gate on the host. Raises RunnerFailure
    (bad-package) where the package has no golden case, or one that is not whole.
    """
    package = load_package(job.package, verify=job.verify, chip=job.backend.chip)
    if package.golden is None:
        raise RunnerFailure(
            "bad-package", f"{package.folder} has no golden case.", "Build the package again."
        )
    limit_memory(package, job.backend, package.golden.width, package.golden.height)
    components = Components(package, backend, job.residency, emit)
    try:
        _check_components(package, package.golden, components, emit)
        _check_images(package, package.golden, components, emit)
    finally:
        components.close()


def _check_components(package: Package, golden: Golden, components: Components, emit: Emit) -> None:
    threshold_db = package.tolerance.component_psnr_db
    for component in package.components.values():
        probe = golden.folder / component.name
        inputs = {
            name: _load_input(f"{probe}.in.{name}.npy", tensor)
            for name, tensor in component.inputs.items()
        }
        expected = {name: _load(f"{probe}.out.{name}.npy") for name in component.outputs}
        outputs = components.run(component.name, inputs, list(expected))
        for name, array in expected.items():
            verdict = compare(array, outputs[name], threshold_db)
            emit("check", layer="component", name=f"{component.name}.{name}", **verdict.fields())


def _check_images(package: Package, golden: Golden, components: Components, emit: Emit) -> None:
    """Draw the golden image from its seed, and compare the latents on the way and the pixels."""
    steps = _count_trajectory(golden.folder)
    pipeline = open_pipeline(components, _request(golden, package.facts.controls))
    conditioning = pipeline.encode(golden.prompt)
    start = pipeline.prepare(golden.seed)
    latents, made = start.latents, 0
    threshold_db = package.tolerance.trajectory_psnr_db
    for step in pipeline.denoise(conditioning, start):
        latents, made = step.latents, made + 1
        if step.index < steps:
            expected = _load(golden.folder / f"trajectory.{step.index}.npy")
            verdict = compare(expected, latents, threshold_db)
            emit("check", layer="trajectory", name=f"step {step.index}", **verdict.fields())
    if made != steps:
        verdict = Verdict(threshold_db, f"the runner made {made} steps, torch {steps}")
        emit("check", layer="trajectory", name="steps", **verdict.fields())
    verdict = _compare_images(package, golden, pipeline, latents)
    emit("check", layer="image", name="pixels", **verdict.fields())


def _compare_images(
    package: Package, golden: Golden, pipeline: Pipeline, latents: Array
) -> Verdict:
    """Compare the first image as it is saved, in 256 levels."""
    threshold_db = package.tolerance.image_psnr_db
    path = golden.folder / "image.npy"
    try:
        expected = to_uint8(_load(path))
    except ValueError as error:
        raise RunnerFailure(
            "bad-package", f"{path} is not an image: {error}", "Build the package again."
        ) from error
    try:
        value = to_uint8(pipeline.decode(latents))[:1]
    except ValueError as error:
        return Verdict(threshold_db, str(error))
    return compare(to_float32(expected), to_float32(value), threshold_db, peak=IMAGE_PEAK)


def _count_trajectory(folder: Path) -> int:
    """Return how many calls of the scheduler a golden case has, counted from 0 without a gap."""
    steps = 0
    while (folder / f"trajectory.{steps}.npy").is_file():
        steps += 1
    if steps == 0:
        raise RunnerFailure(
            "bad-package", f"{folder} has no trajectory.", "Build the package again."
        )
    return steps


def _request(golden: Golden, controls: int) -> Request:
    """Return what is drawn: with the package's own scheduler, for another one is to be found."""
    pictures = {name: golden.folder / file for name, file in PICTURE_NAMES.items()}
    given = {name: path for name, path in pictures.items() if path.is_file()}
    return Request(
        prompts=None if golden.prompt is None else (golden.prompt,),
        negative_prompt=golden.negative_prompt,
        steps=golden.steps,
        guidance=golden.guidance,
        guidance_start=golden.guidance_start,
        guidance_stop=golden.guidance_stop,
        cache_interval=golden.cache_interval,
        seed=golden.seed,
        prompt_syntax="plain",
        clip_skip=0,
        width=golden.width,
        height=golden.height,
        strength=golden.strength,
        image_guidance=golden.image_guidance,
        noise_level=golden.noise_level,
        class_label=golden.class_label,
        image=given.get("image"),
        mask=given.get("mask"),
        depth=given.get("depth"),
        control=tuple(golden.folder / f"control.{number}.png" for number in range(controls))
        or None,
        picture_prompt=given.get("picture_prompt"),
    )


def _load_input(path: str, tensor: Tensor) -> Array:
    """Return an input of a probe.

    Raises RunnerFailure (bad-package) where it is of another shape than the component takes.
    """
    array = _load(path)
    axes = tensor.shape
    fits = len(array.shape) == len(axes) and all(
        isinstance(axis, str) or axis == size for axis, size in zip(axes, array.shape)
    )
    if not fits or not array.size:
        raise RunnerFailure(
            "bad-package",
            f"{path} is of the shape {array.shape}, and {tensor.name} of the shape {axes}.",
            "Build the package again.",
        )
    return array


def _load(path: Union[Path, str]) -> Array:
    return load_array(Path(path), "bad-package")
