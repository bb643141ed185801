"""The size that a package draws at: its model's, the profile's, or the one that was asked for."""

from __future__ import annotations

from dataclasses import replace

from edgegen.core.errors import ConfigError
from edgegen.core.model import PipelineSpec
from edgegen.core.profile import RuntimeOptions
from edgegen.models.latent_sizes import size_problem

LONGEST_PX = 16_384


def at_size(
    spec: PipelineSpec, runtime: RuntimeOptions, width: int | None, height: int | None
) -> PipelineSpec:
    """Return a pipeline whose images are `width` × `height`; either may be left to the profile.

    Raises ConfigError for a size that the model cannot draw, with the nearest one that it can.
    """
    native = spec.generation
    generation = replace(
        native,
        width=width or runtime.width or native.width,
        height=height or runtime.height or native.height,
    )
    if max(generation.width, generation.height) > LONGEST_PX:
        raise ConfigError(
            f"{generation.width} × {generation.height} is too large: a side may have "
            f"{LONGEST_PX} pixels.",
            hint="Choose a smaller --width and --height, or correct those of the profile.",
        )
    problem = size_problem(generation)
    if problem is not None:
        multiple = native.vae_scale_factor * native.latent_multiple
        near = [max(1, round(side / multiple)) for side in (generation.width, generation.height)]
        raise ConfigError(
            problem,
            hint=f"Use --width {near[0] * multiple} --height {near[1] * multiple}, or leave both "
            f"out for the model's own {native.width} × {native.height}.",
        )
    return replace(spec, generation=generation)
