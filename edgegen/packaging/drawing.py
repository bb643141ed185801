"""What a package draws with where the user says nothing: scheduler, steps and guidance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgegen_runner.request import SMALLEST_TILE

from edgegen.builtin.models import BUILTIN_MODELS
from edgegen.core.codec import load_python_json_object
from edgegen.core.errors import ConfigError
from edgegen.core.model import FamilyFacts, Generation, PipelineSpec
from edgegen.core.package import PackageManifest
from edgegen.models.index import INDEX_NAME
from edgegen.models.scheduler import CONFIG_PATH, scheduler_config, with_defaults
from edgegen.runner.schedule import SchedulerOption, check_scheduler, drawn_options

FEWEST_STEPS = 10
"""Models of fewer steps need each of them, and most draw without guidance."""


def drawn_with(
    spec: PipelineSpec,
    folder: Path,
    *,
    scheduler: str | None = None,
    scheduler_options: Mapping[str, SchedulerOption] | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    guidance_start: float | None = None,
    guidance_stop: float | None = None,
    cache_interval: int | None = None,
    decode_tile: int | None = None,
) -> PipelineSpec:
    """Return a pipeline with another scheduler, steps or guidance; None keeps the model's own.

    Another scheduler, or the same with other `scheduler_options`, brings its own defaults. Raises
    ConfigError where the runner does not draw with the scheduler, or not in so many steps, for an
    option that it lacks, for guidance of a model that takes no text, for a part of the steps
    (`guidance_start` to `guidance_stop`, 0…1), or features that are kept for `cache_interval` of
    them, where that gains nothing, and for tiles of `decode_tile` pixels that can't be decoded.
    """
    if guidance is not None and spec.facts.guidance == "none":
        raise ConfigError(f"{spec.source} draws without guidance.", hint="Leave --guidance out.")
    if scheduler is not None or scheduler_options:
        config = scheduler_config(folder, spec.scheduler)
        made = check_scheduler(spec, config, name=scheduler, options=scheduler_options)
        spec = replace(spec, scheduler=made)
        if spec.known_as not in BUILTIN_MODELS:
            spec = with_defaults(spec, folder)
    generation = spec.generation
    if steps is not None:
        generation = replace(generation, steps=steps)
    if guidance is not None:
        generation = replace(generation, guidance=guidance, inpaint_guidance=None)
    if guidance_start is not None or guidance_stop is not None:
        generation = guided_in_part(spec.facts, generation, guidance_start, guidance_stop)
    if cache_interval is not None:
        generation = cached_for(generation, cache_interval)
    if decode_tile is not None:
        generation = replace(generation, decode_tile=_tile_of(spec, decode_tile))
    check_scheduler(spec, scheduler_config(folder, spec.scheduler), steps=generation.steps)
    return replace(spec, generation=generation)


def parse_scheduler_options(texts: Sequence[str]) -> dict[str, SchedulerOption]:
    """Return what `timestep_spacing=trailing` and `use_karras_sigmas=true` say, by option.

    Raises ConfigError for a text without `=`, and for an option that is given twice.
    """
    found: dict[str, SchedulerOption] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name or not value:
            raise ConfigError(
                f"--scheduler-option {text:.80}: that is no option and its value.",
                hint="Write --scheduler-option timestep_spacing=trailing.",
            )
        if name in found:
            raise ConfigError(f"--scheduler-option gives '{name:.80}' twice.", hint="Give it once.")
        found[name] = _value(value)
    return found


def _value(text: str) -> SchedulerOption:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for read in (int, float):
        try:
            number = read(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text
    return text


def guided_in_part(
    facts: FamilyFacts, generation: Generation, start: float | None, stop: float | None
) -> Generation:
    """Return what is drawn with, guided from `start` to `stop` of the steps, 0…1; None: the ends.

    Raises ConfigError for what is no part, and where it would gain nothing: in few steps, and
    without guidance.
    """
    start, stop = 0.0 if start is None else start, 1.0 if stop is None else stop
    if not 0 <= start < stop <= 1:
        raise ConfigError(
            f"--guidance-start is {start:g} and --guidance-stop {stop:g}: parts of the steps.",
            hint="Give 0 ≤ start < stop ≤ 1: --guidance-stop 0.5 guides the first half.",
        )
    if (start, stop) == (0.0, 1.0):
        return generation
    if not facts.is_guided(generation.guidance):
        raise ConfigError(
            "This model draws without classifier-free guidance, so no step can leave it out.",
            hint="Leave --guidance-start and --guidance-stop out.",
        )
    if generation.steps < FEWEST_STEPS:
        raise ConfigError(
            f"Guidance in a part of {generation.steps} steps gains next to nothing.",
            hint=f"Leave --guidance-start and --guidance-stop out below {FEWEST_STEPS} steps.",
        )
    return replace(generation, guidance_start=start, guidance_stop=stop)


def cached_for(generation: Generation, interval: int) -> Generation:
    """Return what is drawn with, all layers computed once in `interval` steps; 1: in all.

    Raises ConfigError for what is no such interval, and where it would gain nothing: in few steps.
    """
    if interval == 1:
        return replace(generation, cache_interval=1)
    if not 1 <= interval <= generation.steps:
        raise ConfigError(
            f"--cache-interval is {interval}, and images have {generation.steps} steps.",
            hint="Give 2 to 5: all layers are computed in each second to fifth step.",
        )
    if generation.steps < FEWEST_STEPS:
        raise ConfigError(
            f"Features that are kept through {generation.steps} steps gain next to nothing: each "
            "of few steps counts.",
            hint=f"Leave --cache-interval out below {FEWEST_STEPS} steps.",
        )
    return replace(generation, cache_interval=interval)


def _tile_of(spec: PipelineSpec, side: int) -> int:
    """Return the side of a tile, `side` pixels, in latents."""
    scale = spec.generation.vae_scale_factor
    decoders = [it for it in spec.components if it.role == "decoder"]
    if not decoders or len(decoders[0].inputs) > 1:
        what = "has no autoencoder" if not decoders else "decodes a picture with what is around it"
        raise ConfigError(f"{spec.source} {what}, so no tiles.", hint="Leave --decode-tile out.")
    least = SMALLEST_TILE * scale
    if side % scale or side < least:
        raise ConfigError(
            f"--decode-tile is {side}: tiles of this model are multiples of {scale} pixels, of "
            f"{least} at least.",
            hint=f"Give {max(least, round(side / scale) * scale)}.",
        )
    return side // scale


def require_cache(manifest: PackageManifest, interval: int) -> None:
    """Raise ConfigError for a package that has no graph for the steps between whole ones."""
    roles = {component.spec.role for component in manifest.components}
    if interval > 1 and "shallow_denoiser" not in roles:
        raise ConfigError(
            "This package keeps no features between steps: its denoiser is one graph.",
            hint="Package the model again with --cache-interval, or leave it out here.",
        )


def scheduler_problem(spec: PipelineSpec, folder: Path) -> str | None:
    """Return why the runner does not draw with a pipeline's own scheduler; None where it does."""
    try:
        drawn_with(spec, folder)
    except ConfigError as error:
        return error.message
    return None


def write_scheduler(spec: PipelineSpec, folder: Path) -> None:
    """Make a package's copies of the model's files name the scheduler that it draws with.

    The runner, the kits and diffusers then read the same, whichever file they believe. Options that
    the model's file leaves out are written with the values that this package draws with: other
    readers have other defaults. They are marked as diffusers marks its own defaults, so that
    another scheduler that is made of the file still brings its own.
    """
    path = folder / CONFIG_PATH
    config = scheduler_config(folder, spec.scheduler)
    drawn, corrected = drawn_options(spec, config)
    left_out = [name for name in drawn if name not in config]
    config |= {name: drawn[name] for name in (*left_out, *corrected) if name in drawn}
    if left_out:
        config["_use_default_values"] = left_out
    if config != load_python_json_object(path):
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    index_path = folder / INDEX_NAME
    index = load_python_json_object(index_path)
    if index["scheduler"][1] != spec.scheduler.class_name:
        index["scheduler"] = ["diffusers", spec.scheduler.class_name]
        index_path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
