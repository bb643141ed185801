"""Measures a model's sensitivity, or recalls it from the cache; torch is never imported here."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import math
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from edgegen import __version__
from edgegen.compress.codecs import CODECS
from edgegen.core.codec import dump_json, encode, load_json
from edgegen.core.errors import ConfigError, ResourceError
from edgegen.core.files import sha256_of, write_atomic
from edgegen.core.folders import cache_folder
from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase, StageCost
from edgegen.core.progress import Progress
from edgegen.core.scratch import ScratchFolder, default_roots
from edgegen.core.sensitivity import Losses, Sensitivity
from edgegen.core.units import format_bytes
from edgegen.core.worker import Event, call
from edgegen.models.pipeline_source import SourceSpec, open_source
from edgegen.models.read import component_keys
from edgegen.reference.calibration_cases import plan_calibration
from edgegen.reference.case import MOST_STEPS, STEPS
from edgegen.sensitivity.child import Job, Measured

WORKER = "edgegen.sensitivity.child"
STAGE = "sensitivity"
TRAJECTORIES = 4

_TOOLKITS = ("torch", "diffusers", "transformers", "numpy")
_ROOMS = ("compress", "families", "networks", "reference", "sensitivity")
"""Other versions of these may find other figures."""


def plan_cases(spec: PipelineSpec, configs: Path) -> tuple[GoldenCase, ...]:
    """Return the trajectories: those of calibration, all in the same few steps.

    A model that draws in few steps takes its own number. Raises what `plan_calibration` raises.
    """
    own = spec.generation.steps
    steps = own if own <= MOST_STEPS else STEPS
    return plan_calibration(spec, configs, full=False, steps=(steps,) * TRAJECTORIES)


def measure_sensitivity(
    spec: PipelineSpec,
    source: SourceSpec,
    *,
    weights_sha256: str,
    progress: Progress,
    fresh: bool = False,
) -> Sensitivity:
    """Return what each storage of each layer costs; `weights_sha256` is that of the model.

    It is remembered by its content: the model's weights and configs, the trajectories, the codecs
    and the toolkits. With `fresh` it is measured again.

    Raises SourceError where the model cannot be built, MissingDependencyError without torch,
    ResourceError where memory or disk ran out or the gradients have no room, and ExportError where
    the process died.
    """
    cases = plan_cases(spec, open_source(source).configs)
    remembered = None if fresh else recall(spec, source, weights_sha256=weights_sha256)
    if remembered is not None:
        return remembered
    require_room(gradient_bytes(spec, source) * len(cases))
    with (
        ScratchFolder("sensitivity") as scratch,
        progress.step("sensitivity in torch", total=len(cases), unit="images") as step,
    ):

        def on_event(event: Event) -> None:
            if event["event"] == "run":
                step.advance()
            elif event["event"] == "step":
                step.describe(str(event["text"]))

        destination = scratch / "measured.json"
        job = Job(spec=spec, source=source, destination=str(destination), cases=cases)
        finished = call(WORKER, job, stage=STAGE, on_event=on_event)
        measured = load_json(Measured, destination)
    return remember(
        spec,
        source,
        measured.components,
        weights_sha256=weights_sha256,
        cost=finished.cost,
    )


def recall(spec: PipelineSpec, source: SourceSpec, *, weights_sha256: str) -> Sensitivity | None:
    """Return a table that was measured before, from the cache; None without one.

    One that another edgegen wrote isn't one.
    """
    configs = open_source(source).configs
    place = _place(spec, configs, plan_cases(spec, configs), weights_sha256)
    with contextlib.suppress(ConfigError):
        return load_json(Sensitivity, place)
    return None


def remember(
    spec: PipelineSpec,
    source: SourceSpec,
    components: Losses,
    *,
    weights_sha256: str,
    cost: StageCost,
) -> Sensitivity:
    """Return the table of what was measured on the trajectories of `plan_cases`, and keep it."""
    configs = open_source(source).configs
    cases = plan_cases(spec, configs)
    found = Sensitivity(
        model=spec.source,
        weights_sha256=weights_sha256,
        cases=cases,
        bits={name: codec.bits for name, codec in CODECS.items()},
        components=components,
        cost=cost,
    )
    place = _place(spec, configs, cases, weights_sha256)
    with contextlib.suppress(OSError, ResourceError):  # without a cache, it is measured each time
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, dump_json(found), setting="EDGEGEN_CACHE_DIR")
    return found


def gradient_bytes(spec: PipelineSpec, source: SourceSpec) -> int:
    """Return what the gradients of one picture take: four bytes for each number of a matrix."""
    opened = open_source(source)
    total = 0
    for component in spec.components:
        weights = opened.weights(component.folder, component.variant)
        shapes = (weights.entries[key].shape for key in component_keys(component, weights))
        total += sum(4 * math.prod(shape) for shape in shapes if len(shape) > 1)
    return total


def require_room(needed_bytes: int) -> None:
    """Raise ResourceError where the folder for temporary files has less free."""
    place = default_roots()[0].absolute()
    while not place.exists():
        place = place.parent
    free_bytes = shutil.disk_usage(place).free
    if free_bytes < needed_bytes:
        raise ResourceError(
            f"The gradients of the pictures take about {format_bytes(needed_bytes)} while they are "
            f"measured, and the disk that holds {place} has {format_bytes(free_bytes)} free.",
            hint="Free some space, or set TMPDIR to a folder on another disk.",
        )


def _place(
    spec: PipelineSpec, configs: Path, cases: tuple[GoldenCase, ...], weights_sha256: str
) -> Path:
    """Return where a table is remembered: its name says what it was made from."""
    about = {
        "spec": encode(spec),
        "cases": [encode(case) for case in cases],
        "weights": weights_sha256,
        "configs": {
            path.relative_to(configs).as_posix(): sha256_of(path)
            for path in sorted(configs.rglob("*.json"))
        },
        "made_by": dict(made_by()),
    }
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
    return cache_folder() / "sensitivity" / f"{name}.json"


@cache
def made_by() -> Mapping[str, str]:
    """Return the versions of what measures: edgegen, the toolkits, and the modules that do it."""
    found = {"edgegen": __version__}
    for toolkit in _TOOLKITS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[toolkit] = importlib.metadata.version(toolkit)
    edgegen = Path(__file__).resolve().parents[1]
    for room in _ROOMS:
        for module in sorted((edgegen / room).glob("*.py")):
            found[module.relative_to(edgegen).as_posix()] = sha256_of(module)
    return found
