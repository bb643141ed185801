"""Measures what pictures miss of a denoiser, or recalls it from the cache; never imports torch."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import replace
from pathlib import Path

from edgegen.core.codec import dump_json, encode, load_json
from edgegen.core.errors import ConfigError, ResourceError
from edgegen.core.files import sha256_of, write_atomic
from edgegen.core.folders import cache_folder
from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.core.progress import Progress
from edgegen.core.scratch import ScratchFolder
from edgegen.core.worker import Event, call
from edgegen.models.pipeline_source import SourceSpec, open_source
from edgegen.pruning.child import Found, Job
from edgegen.pruning.prompts import prompts_of
from edgegen.pruning.scores import Scores
from edgegen.reference.case import denoiser
from edgegen.sensitivity.run import (
    gradient_bytes,
    made_by,
    plan_cases,
    recall,
    remember,
    require_room,
)

WORKER = "edgegen.pruning.child"
STAGE = "pruning"
_CODE = ("child.py", "measure.py", "prompts.py", "scores.py")
PICTURES = 8
"""Gradients are of so many pictures: of fewer, those of whole blocks are too uncertain."""


def plan_pictures(spec: PipelineSpec, configs: Path) -> tuple[GoldenCase, ...]:
    """Return what is drawn: the trajectories of sensitivity, then others of the same kind."""
    cases = plan_cases(spec, configs)
    prompts = prompts_of(spec, configs)
    more = [
        replace(
            cases[place % len(cases)],
            seed=cases[-1].seed + 1 + place,
            prompt=None if cases[0].prompt is None else prompts[place % len(prompts)],
        )
        for place in range(PICTURES - len(cases))
    ]
    return (*cases, *more)


def measure_scores(
    spec: PipelineSpec,
    source: SourceSpec,
    *,
    weights_sha256: str,
    progress: Progress,
    with_sensitivity: bool = False,
) -> Scores:
    """Return what pictures miss of each unit and block of the denoiser.

    It is remembered by its content: weights, configs, trajectories, toolkits and edgegen itself.
    `with_sensitivity` is for whoever wants the model's sensitivity afterwards: it is measured on
    some of the same trajectories, and remembered.

    Raises SourceError where the model cannot be built, MissingDependencyError without torch,
    ResourceError where memory or disk ran out, and ExportError where the process died.
    """
    configs = open_source(source).configs
    cases = plan_pictures(spec, configs)
    place = _place(spec, configs, cases, weights_sha256)
    with contextlib.suppress(ConfigError):  # there is none, or another edgegen wrote it
        return load_json(Scores, place)
    shared = 0
    if with_sensitivity and recall(spec, source, weights_sha256=weights_sha256) is None:
        shared = len(plan_cases(spec, configs))
        require_room(gradient_bytes(spec, source) * shared)
    with (
        ScratchFolder("pruning") as scratch,
        progress.step("what pictures miss", total=len(cases), unit="images") as step,
    ):

        def on_event(event: Event) -> None:
            if event["event"] == "run":
                step.advance()
            elif event["event"] == "step":
                step.describe(str(event["text"]))

        destination = scratch / "found.json"
        job = Job(
            spec=spec,
            source=source,
            destination=str(destination),
            cases=cases,
            sensitivity_cases=shared,
        )
        finished = call(WORKER, job, stage=STAGE, on_event=on_event)
        found = load_json(Found, destination)
    if shared:
        losses, cost = found.sensitivity, finished.cost
        remember(spec, source, losses, weights_sha256=weights_sha256, cost=cost)
    scores = Scores(
        model=spec.source,
        weights_sha256=weights_sha256,
        component=denoiser(spec).name,
        structure=found.structure,
        units=found.units,
        blocks=found.blocks,
        cases=cases,
        cost=finished.cost,
    )
    with contextlib.suppress(OSError, ResourceError):  # without a cache, it is measured each time
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, dump_json(scores), setting="EDGEGEN_CACHE_DIR")
    return scores


def _place(
    spec: PipelineSpec, configs: Path, cases: tuple[GoldenCase, ...], weights_sha256: str
) -> Path:
    """Return where scores are remembered: the name says what they were made from."""
    own = [Path(__file__).with_name(name) for name in _CODE]
    about = {
        "spec": encode(spec),
        "cases": [encode(case) for case in cases],
        "weights": weights_sha256,
        "configs": {
            path.relative_to(configs).as_posix(): sha256_of(path)
            for path in sorted(configs.rglob("*.json"))
        },
        "made_by": {**made_by(), **{path.name: sha256_of(path) for path in own}},
    }
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
    return cache_folder() / "pruning" / f"{name}.json"
