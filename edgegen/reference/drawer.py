"""Draws requests with diffusers: what a package is compared with.

Imported where torch is needed, and therefore imports it at the top.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edgegen_runner.generation import PICTURES, REDRAWING
from edgegen_runner.schedulers import SHORT_NAMES

from edgegen.core.errors import ConfigError, SourceError, nearest
from edgegen.core.model import Generation
from edgegen.drawer import DrawRequest, Pixels, drawn_together, rgb
from edgegen.families import family_of
from edgegen.families.base import Family
from edgegen.reference.feature_cache import cached_features
from edgegen.reference.guidance import guided_part
from edgegen.reference.pipeline import scheduler_class, with_scheduler
from edgegen.reference.sde import seed_noise
from edgegen.reference.tiles import decoded_in_tiles


class TorchDrawer:
    """Draws with a diffusers pipeline of a family, in one batch what differs in prompt and seed.

    What a request leaves open is `generation`'s, or the default of the pipeline's class.
    """

    def __init__(self, pipeline: Any, family: str, generation: Generation | None = None) -> None:
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline
        self._family = family_of(family)
        self._generation = generation

    def draw(self, requests: Sequence[DrawRequest]) -> list[Pixels]:
        """Draw each request from its own seed.

        Raises ConfigError for what the pipeline cannot start from, or a scheduler that is unknown.
        """
        pictures: dict[DrawRequest, Pixels] = {}
        for settings, alike in drawn_together(requests).items():
            one = _completed(settings, self._generation, self._family)
            pipeline = _around(self._pipeline, one.scheduler)
            seed_noise(pipeline.scheduler, [it.seed for it in alike])
            with drawn_as(pipeline, self._family, one), torch.inference_mode():
                images = pipeline(**batch_arguments(self._family, one, alike)).images
            levels = np.rint(images * 255).astype(np.uint8)
            pictures |= zip(alike, map(rgb, levels), strict=True)
        return [pictures[request] for request in requests]


def batch_arguments(
    family: Family, one: DrawRequest, alike: Sequence[DrawRequest]
) -> dict[str, Any]:
    """Return what diffusers' pipeline is called with for several requests.

    They are `one` but for their prompts and seeds. Raises what `call_arguments` raises.
    """
    count = len(alike)
    arguments = call_arguments(family, one)
    arguments["generator"] = [torch.Generator().manual_seed(it.seed) for it in alike]
    if family.facts.takes_text:
        arguments["prompt"] = [it.prompt or "" for it in alike]
    else:
        arguments["batch_size"] = count
    if "negative_prompt" in arguments:
        arguments["negative_prompt"] = [one.negative_prompt] * count
    if "class_labels" in arguments:
        arguments["class_labels"] = arguments["class_labels"] * count
    if "depth_map" in arguments:
        arguments["depth_map"] = arguments["depth_map"].repeat(count, 1, 1)
    # a picture that steers is taken for all of a batch
    for name in ({"image", "mask_image"} - {family.reference.control}) & arguments.keys():
        arguments[name] = [arguments[name]] * count
    return arguments


def call_arguments(family: Family, request: DrawRequest) -> dict[str, Any]:
    """Return what diffusers' pipeline is called with for a request, all but the generator.

    Raises ConfigError where the pipeline starts from something else than the request, SourceError
    where Pillow is missing.
    """
    call, start = family.reference, family.facts.starts[0]
    _require_start(family, request)
    arguments: dict[str, Any] = {"output_type": "np", **call.arguments}
    if family.facts.takes_text:
        arguments["prompt"] = request.prompt
    if call.takes_size and not call.sized_by_picture:
        arguments |= {"height": request.height, "width": request.width}
    given = {
        "num_inference_steps": request.steps,
        "guidance_scale": request.guidance if family.facts.takes_text else None,
        "negative_prompt": request.negative_prompt,
        "strength": request.strength if start in REDRAWING else None,
        "image_guidance_scale": request.image_guidance if start == "edit" else None,
        "noise_level": request.noise_level if start == "upscale" else None,
    }
    arguments |= {name: value for name, value in given.items() if value is not None}
    if request.class_label is not None:
        arguments["class_labels"] = [request.class_label]
    if request.image is not None:
        arguments["image"] = _picture(request.image)
    if request.mask is not None:
        arguments["mask_image"] = _picture(request.mask)
    if request.picture_prompt is not None:
        arguments["ip_adapter_image"] = _picture(request.picture_prompt)
    if call.control is not None:
        pictures = [_picture(it) for it in request.controls]
        arguments[call.control] = pictures[0] if len(pictures) == 1 else pictures
        if call.control_scale is not None and len(pictures) > 1:
            arguments[call.control_scale] = [1.0] * len(pictures)
    if request.depth is not None:
        arguments["depth_map"] = _depth_map(request.depth)
    return arguments


@contextmanager
def drawn_as(pipeline: Any, family: Family, request: DrawRequest) -> Iterator[None]:
    """Guide the part of the steps that a request says, and keep features for as many calls.

    Only where the image is guided at all. Its picture is decoded in the tiles that it says. Raises
    ConfigError for a denoiser that keeps no features.
    """
    start, stop = request.guidance_start, request.guidance_stop
    guided = family.facts.is_guided(request.guidance or 0.0)
    whole = (0.0, 1.0)
    part = (0.0 if start is None else start, 1.0 if stop is None else stop) if guided else whole
    interval = request.cache_interval or 1
    with (
        cached_features(pipeline, family, interval, part),
        guided_part(pipeline, family, *part),
        decoded_in_tiles(pipeline, request.decode_tile),
    ):
        yield


def _completed(request: DrawRequest, known: Generation | None, family: Family) -> DrawRequest:
    if known is None:
        return request
    guidance = known.guidance
    if family.facts.needs_mask and known.inpaint_guidance is not None:
        guidance = known.inpaint_guidance
    start, stop = request.guidance_start, request.guidance_stop
    return replace(
        request,
        guidance_start=known.guidance_start if start is None else start,
        guidance_stop=known.guidance_stop if stop is None else stop,
        cache_interval=request.cache_interval or known.cache_interval,
        steps=known.steps if request.steps is None else request.steps,
        guidance=guidance if request.guidance is None else request.guidance,
        width=known.width if request.width is None else request.width,
        height=known.height if request.height is None else request.height,
        image_guidance=known.image_guidance
        if request.image_guidance is None
        else request.image_guidance,
        noise_level=known.noise_level if request.noise_level is None else request.noise_level,
    )


def _require_start(family: Family, request: DrawRequest) -> None:
    start = family.facts.starts[0]
    pictures = {"image": request.image, "mask": request.mask, "depth": request.depth}
    given = tuple(name for name, path in pictures.items() if path is not None)
    if PICTURES[start] != given:
        raise ConfigError(
            f"diffusers' {family.reference.classes[0]} starts from {_named(PICTURES[start])}, the "
            f"request from {_named(given)}.",
            hint="Draw it with a package, which can start from each of them.",
        )


def _named(pictures: Sequence[str]) -> str:
    return f"a given {' and '.join(pictures)}" if pictures else "noise"


def _picture(path: Path) -> Any:
    with pillow().open(path) as image:
        return image.convert("RGB")


def _depth_map(path: Path) -> torch.Tensor:
    """Return the gray levels of a picture, (1, height, width), all that it has."""
    with pillow().open(path) as image:
        gray = image if image.mode.startswith("I") else image.convert("L")
        levels = np.asarray(gray).astype(np.float32)
    return torch.from_numpy(levels)[None]


def pillow() -> Any:
    """Import Pillow's images. Raises SourceError where it is missing."""
    try:
        from PIL import Image
    except ImportError as error:  # diffusers asks for it
        raise SourceError("Pillow is missing.", hint="Run: pip install pillow") from error
    return Image


def _around(pipeline: Any, name: str | None) -> Any:
    """Return a pipeline around a scheduler of another class, made of the options of its own."""
    own = pipeline.scheduler
    if name is None or name == type(own).__name__:
        return pipeline
    class_name, options = SHORT_NAMES.get(name, (name, {}))
    build = scheduler_class(class_name)
    if build is None:
        raise ConfigError(f"diffusers has no scheduler '{name}'.", hint=nearest(name, SHORT_NAMES))
    made = with_scheduler(pipeline, build.from_config(own.config, **options))
    made.set_progress_bar_config(disable=True)
    return made
