"""Chooses what several packages of a model draw, and sets it beside what torch drew of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgegen_runner.metrics import Array, psnr_db
from edgegen_runner.png import to_uint8

from edgegen.builtin.models import BUILTIN_MODELS
from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.drawer import Pixels, rgb
from edgegen.reference import golden
from edgegen.reference.case import SMALL_MODEL_PX, plan_case


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """An image. `psnr_db` is against torch's, infinite where equal."""

    label: str
    pixels: Pixels
    psnr_db: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """What was drawn: torch's image first, then those of the packages."""

    case: GoldenCase
    drawings: tuple[Drawing, ...]


def plan_drawing(spec: PipelineSpec, folder: Path, *, prompt: str | None) -> GoldenCase:
    """Choose what is drawn: at the native size, with all steps where the model is small.

    A model above 256 pixels is drawn with the few steps of a golden case, in minutes instead of
    an hour. Raises SourceError for a scheduler's config that cannot be read.
    """
    generation = spec.generation
    case = plan_case(spec, folder, full=True)
    small = max(generation.width, generation.height) <= SMALL_MODEL_PX
    if case.prompt is None:
        return replace(case, steps=generation.steps) if small else case
    builtin = BUILTIN_MODELS.get(spec.known_as)
    wanted = prompt or (case.prompt if builtin is None else builtin.prompt)
    case = replace(case, prompt=wanted, negative_prompt=None)
    return replace(case, steps=generation.steps) if small else case


def set_side_by_side(
    case: GoldenCase, reference: Path, pictures: Mapping[str, Array]
) -> SideBySide:
    """Set what packages drew, by label, beside what torch drew of the case into `reference`."""
    expected = rgb(to_uint8(golden.read_array(reference, golden.IMAGE_NAME))[0])
    drawings = [Drawing(label="torch", pixels=expected, psnr_db=None)]
    for label, picture in pictures.items():
        pixels = rgb(picture)
        distance_db = psnr_db(expected, pixels, peak=255.0)
        drawings.append(Drawing(label=label, pixels=pixels, psnr_db=distance_db))
    return SideBySide(case=case, drawings=tuple(drawings))
