"""Decides what a golden case runs: prompt, size, steps, seed. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.model import Component, PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.families import family_of
from edgegen.networks import denoiser_of

FOLDER_NAME = "golden"
PROMPT = "a red lighthouse at dusk"
NEGATIVE_PROMPT = "blurry"
SEED = 20
STEPS = 4
MOST_STEPS = 8
"""A model that draws in so few steps is compared in as many; the others in `STEPS`."""
PROBE_BATCH = 2
STRENGTHS: Mapping[str, float] = {"picture": 0.75, "mask": 1.0, "depth": 0.75}
"""How much of the schedule is run where a picture is redrawn, by what an image starts from."""
SMALL_MODEL_PX = 256
"""A model whose native size is not larger runs at that size."""

_BASE_BYTES = 1_200_000_000
_DECODER_BYTES_A_PIXEL = 4_100

_LOWEST_LEVEL = 2
"""Height of the innermost feature map at the small size, which is twice as wide: (1, 1) would leave
attention nothing to choose from, and a square would hide height taken for width. Where a denoiser
takes sizes that its levels cannot halve evenly, it gets one."""


def plan_case(
    spec: PipelineSpec, folder: Path, *, full: bool, name: str = FOLDER_NAME
) -> GoldenCase:
    """Choose the golden case of a pipeline: the native size if `full`, else a small one.

    `name` is the case's folder in the package. A size that the denoiser's input fixes is kept.
    Raises SourceError where the scheduler's or the denoiser's config is not what the family needs.
    """
    least = None if full else least_latent_size(spec, folder)
    return _case(spec, least, name)


def small_case(spec: PipelineSpec, least: tuple[int, int]) -> GoldenCase:
    """Return what `plan_case` chooses that is not `full`; `least` is the least size of latents."""
    return _case(spec, least, FOLDER_NAME)


def _case(spec: PipelineSpec, least: tuple[int, int] | None, name: str) -> GoldenCase:
    height, width = _run_size(spec, least)
    generation = spec.generation
    facts = spec.facts
    return GoldenCase(
        folder=name,
        prompt=PROMPT if facts.takes_text else None,
        negative_prompt=NEGATIVE_PROMPT if facts.takes_negative_prompt else None,
        width=width,
        height=height,
        steps=generation.steps if generation.steps <= MOST_STEPS else STEPS,
        guidance=generation.guidance,
        seed=SEED,
        scheduler=spec.scheduler.class_name,
        strength=STRENGTHS.get(facts.starts[0]),
        image_guidance=generation.image_guidance,
        noise_level=generation.noise_level,
        class_label=None if generation.classes is None else SEED % generation.classes,
        guidance_start=generation.guidance_start,
        guidance_stop=generation.guidance_stop,
        cache_interval=generation.cache_interval,
        decode_tile=generation.decode_tile,
    )


def _run_size(spec: PipelineSpec, least: tuple[int, int] | None) -> tuple[int, int]:
    """Return height and width, in pixels, of the golden case's image: the native ones, or small."""
    generation = spec.generation
    native = generation.height, generation.width
    takes_size = family_of(spec.family).reference.takes_size
    if least is None or not takes_size or max(native) <= SMALL_MODEL_PX:
        return native
    height, width = small_latents(spec, least)
    scale = generation.vae_scale_factor
    return height * scale, width * scale


def probe_latent_size(spec: PipelineSpec, folder: Path, *, full: bool) -> tuple[int, int]:
    """Return height and width of the latents with which components are probed."""
    if full:
        scale = spec.generation.vae_scale_factor
        return spec.generation.height // scale, spec.generation.width // scale
    return small_latents(spec, least_latent_size(spec, folder))


def least_latent_size(spec: PipelineSpec, folder: Path) -> tuple[int, int]:
    """Return the smallest useful height and width of the latents, where no axis is fixed."""
    component = denoiser(spec)
    config = ComponentConfig.of_network(folder / component.folder / "config.json")
    halved = denoiser_of(component.class_name).reduction(config)
    multiple = spec.generation.latent_multiple
    shortest = math.ceil(_LOWEST_LEVEL * halved / multiple) * multiple
    uneven = multiple if multiple % halved else 0
    return shortest + uneven, 2 * shortest + uneven


def small_latents(spec: PipelineSpec, least: tuple[int, int]) -> tuple[int, int]:
    """Return the `least` height and width of latents; fixed axes stay as they are."""
    axes = denoiser(spec).inputs[0].shape[2:]
    height, width = (
        axis if isinstance(axis, int) else size for axis, size in zip(axes, least, strict=True)
    )
    return height, width


def predict_memory_bytes(spec: PipelineSpec, case: GoldenCase) -> int:
    """Predict the reference's peak memory.

    Fitted to Stable Diffusion 1.5's shape (decoding 512 × 512 pixels took 1.06 GB over a base of
    0.33, a step of its UNet 0.5) and to the base of a whole run (0.7); a decoder with more or fewer
    channels at the top takes accordingly more or less.
    """
    has_decoder = any(component.role == "decoder" for component in spec.components)
    return _BASE_BYTES + (_DECODER_BYTES_A_PIXEL * case.width * case.height if has_decoder else 0)


def denoiser(spec: PipelineSpec) -> Component:
    """Return the component that predicts the noise."""
    found = [component for component in spec.components if component.role == "denoiser"]
    if len(found) != 1:
        raise SourceError(
            f"{spec.source} has {len(found)} denoisers.", hint="Give a pipeline with one."
        )
    return found[0]
