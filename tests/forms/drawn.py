"""Packages a row's model for every target, draws with each, and compares with diffusers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen_runner.metrics import psnr_db

from edgegen.core.errors import EdgegenError
from edgegen.core.targets import load_targets
from edgegen.drawer import DrawRequest, Pixels
from edgegen.models.model_folder import ModelFolder
from edgegen.models.pipeline_source import folder_source, open_source
from edgegen.models.read import read_pipeline
from edgegen.packaging.batch import build_all
from edgegen.packaging.plan import plan
from edgegen.reference import golden
from edgegen.reference.drawer import TorchDrawer
from edgegen.reference.pipeline import load_reference
from edgegen.reference.start_pictures import write_start_pictures
from edgegen.runner.drawers import PackageDrawer
from tests.forms.rows import Row

TARGETS = tuple(sorted(load_targets()))
LEAST_PSNR_DB = 60.0
FARTHEST_PLAIN_DB = 45.0
"""A picture without the file is farther than this: else the cell shows nothing."""
SEED, STEPS = 3, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """How near each target's picture is, and that of the model without an adapter."""

    psnr_db: Mapping[str, float]
    plain_db: float | None


def draw(row: Row, model: Path, place: Path, targets: Sequence[str] = TARGETS) -> Drawn:
    """Draw a row's picture from a package of each target."""
    made = row.make(model, place)
    spec = read_pipeline(made.model)
    size = {"width": spec.generation.width, "height": spec.generation.height}
    write_start_pictures(spec, place, **size)
    pictures = golden.start_pictures(place)
    request = DrawRequest(
        prompt=made.prompt,
        seed=SEED,
        steps=STEPS,
        image=pictures.get("image"),
        mask=pictures.get("mask"),
        strength=0.9 if "image" in pictures else None,
        controls=golden.control_pictures(place),
        picture_prompt=pictures.get("picture_prompt"),
    )
    (expected,) = TorchDrawer(made.pipeline, spec.family, spec.generation).draw([request])
    plans = [
        plan(made.model, target=target, recipe="fp32", destination=place / target)
        for target in targets
    ]
    for built in build_all(plans, parity=False).packages:
        if isinstance(built, EdgegenError):
            raise built
    found = {}
    for target in targets:
        (picture,) = PackageDrawer(place / target).draw([request])
        found[target] = _distance_db(expected, picture)
    plain = None if made.plain is None else _drawn_by_torch(made.plain, request)
    return Drawn(psnr_db=found, plain_db=None if plain is None else _distance_db(expected, plain))


def _distance_db(expected: Pixels, drawn: Pixels) -> float:
    found = psnr_db(expected, drawn, peak=255.0)
    return math.inf if found is None else found


def _drawn_by_torch(model: ModelFolder, request: DrawRequest) -> Pixels:
    spec = read_pipeline(model)
    reference = load_reference(spec, open_source(folder_source(model.path)))
    with reference.weights:
        (picture,) = TorchDrawer(reference.pipeline, spec.family, spec.generation).draw([request])
    return picture
