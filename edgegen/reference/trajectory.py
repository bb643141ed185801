"""Runs a golden case in diffusers, and keeps what its scheduler returns at each call.

Imported in the reference's own process only, and therefore imports torch at the top.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.families import family_of
from edgegen.reference import golden
from edgegen.reference.drawer import call_arguments, drawn_as
from edgegen.reference.pipeline import Reference
from edgegen.reference.probes import check_finite
from edgegen.reference.sde import seed_noise
from edgegen.reference.start_pictures import write_start_pictures


def run_case(
    reference: Reference,
    spec: PipelineSpec,
    case: GoldenCase,
    destination: Path,
    on_step: Callable[[int], None],
) -> None:
    """Make the golden case's image, and write it with its first latents and its trajectory.

    `on_step` is called after each call of the scheduler with how many there were. All random
    numbers come from one generator, as they do for somebody who runs the pipeline with a seed.
    Raises SourceError where the model itself makes values that are not finite.
    """
    write_start_pictures(spec, destination, width=case.width, height=case.height)

    def see(index: int, latents: torch.Tensor) -> None:
        check_finite(latents, f"Step {index} of the pipeline computes latents")
        golden.write_array(destination, golden.trajectory_name(index), to_numpy(latents))
        on_step(index + 1)

    request = golden.draw_request(case, destination)
    family = family_of(spec.family)
    seed_noise(reference.pipeline.scheduler, [case.seed])
    with watched_steps(reference.pipeline, see), drawn_as(reference.pipeline, family, request):
        image = reference.pipeline(**case_arguments(spec, case, destination)).images
    pixels = np.ascontiguousarray(image.transpose(0, 3, 1, 2), dtype=np.float32) * 2 - 1
    golden.write_array(destination, golden.IMAGE_NAME, pixels)
    if draws_latents_first(spec):
        golden.write_array(destination, golden.LATENTS_NAME, to_numpy(first_latents(spec, case)))


@contextmanager
def watched_steps(pipeline: Any, see: Callable[[int, torch.Tensor], None]) -> Iterator[None]:
    """Let `see` have the index of each call of the scheduler, and the latents that it returns."""
    scheduler = pipeline.scheduler
    plain_step = scheduler.step
    count = 0

    @functools.wraps(plain_step)  # diffusers reads the signature
    def step(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        output = plain_step(*args, **kwargs)
        see(count, output[0] if isinstance(output, tuple) else output.prev_sample)
        count += 1
        return output

    scheduler.step = step
    try:
        yield
    finally:
        del scheduler.step


def case_arguments(spec: PipelineSpec, case: GoldenCase, folder: Path) -> dict[str, Any]:
    """Return what the pipeline is called with; `folder` has the pictures that it starts from."""
    arguments = call_arguments(family_of(spec.family), golden.draw_request(case, folder))
    return {**arguments, "generator": torch.Generator().manual_seed(case.seed)}


def draws_latents_first(spec: PipelineSpec) -> bool:
    """Return whether the first numbers that the pipeline draws are its first latents.

    An image-to-image pipeline draws a sample of its encoded picture before them, one that enlarges
    the noise of the small picture.
    """
    return spec.facts.starts[0] in ("noise", "mask", "edit")


def first_latents(spec: PipelineSpec, case: GoldenCase) -> torch.Tensor:
    """Return the normal numbers that diffusers draws first: (1, channels, height, width)."""
    scale = spec.generation.vae_scale_factor
    size = (1, spec.generation.latent_channels, case.height // scale, case.width // scale)
    return torch.randn(size, generator=torch.Generator().manual_seed(case.seed))


def to_numpy(value: torch.Tensor) -> golden.Array:
    """Return a tensor as an array of the golden case: float32, or int64 for ids."""
    wanted = torch.float32 if value.is_floating_point() else torch.int64
    array: golden.Array = value.detach().to(wanted).contiguous().numpy()
    return array
