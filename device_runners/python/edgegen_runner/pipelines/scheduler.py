"""Which scheduler draws, and how diffusers' pipeline class reads its configuration.

A scheduler of another name is made from the package's configuration and given to the pipeline, as
``Pipeline.from_pretrained(folder, scheduler=Other.from_pretrained(folder, subfolder="scheduler"))``
of diffusers does: what the pipeline corrects in its own scheduler, it corrects in that one too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ..errors import RunnerFailure
from ..package import Package
from ..request import Request
from ..schedulers import (
    SHORT_NAMES,
    Scheduler,
    UnsupportedScheduler,
    explicit,
    load_scheduler,
)

TAKES_THREE_CHANNELS = (
    *("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"),
    "SASolverScheduler",
)
"""Of a prediction with a variance these take the first three channels."""
FLOW_MATCHING = "FlowMatchEulerDiscreteScheduler"


@dataclass(frozen=True)
class SchedulerRules:
    """What diffusers' pipeline classes of a family do to schedulers, and which they refuse.

    ``corrections`` replace options, by how an image starts. ``only`` names the one class that they
    draw with, ``refused`` those that they don't, and ``made_by`` the class that a pipeline class
    makes of whatever it is given. A variance that the model learned goes to the scheduler, except
    where the pipeline ``drops_variance``; ``drops`` channels behind a prediction count nowhere.
    Pipeline classes of ``keeps_eta`` leave eta to the scheduler.
    """

    corrections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    only: Optional[str] = None
    refused: tuple[str, ...] = (FLOW_MATCHING,)
    made_by: Mapping[str, str] = field(default_factory=dict)
    drops_variance: bool = False
    keeps_eta: tuple[str, ...] = ()
    drops: int = 0


def open_scheduler(
    package: Package, request: Request, rules: SchedulerRules, kind: str = "noise"
) -> Scheduler:
    """Return the request's scheduler, or the package's own; ``kind`` is that of `Starts`.

    Raises RunnerFailure (unsupported-scheduler), naming what is supported.
    """
    outputs = package.by_role("denoiser").outputs.values()
    shape = next(iter(outputs)).shape
    scheduler = make_scheduler(
        package.scheduler_config(),
        request.scheduler,
        rules,
        pipeline_class=package.pipeline_class,
        kind=kind,
    )
    if len(shape) > 1 and isinstance(shape[1], int):
        check_channels(scheduler, rules, package.generation.latent_channels, shape[1])
    keeps = package.pipeline_class in rules.keeps_eta and request.eta == 0
    if hasattr(scheduler, "eta") and not keeps:
        scheduler.eta = request.eta
    return scheduler


def make_scheduler(
    config: Mapping[str, Any],
    name: Optional[str],
    rules: SchedulerRules,
    *,
    pipeline_class: str,
    kind: str,
) -> Scheduler:
    """Return the scheduler of a configuration, or that of another ``name`` made from it.

    Raises RunnerFailure (unsupported-scheduler) where the runner lacks it, or an option of it, and
    where diffusers' pipeline does not draw with it.
    """
    made = rules.made_by.get(pipeline_class)
    if made is not None:
        if name is not None and SHORT_NAMES.get(name, (name,))[0] != made:
            raise _refused(f"A {pipeline_class} draws with {made} alone, not with {name!r}.")
        name = made
    try:
        options = {**explicit(config), **rules.corrections.get(kind, {})}
        scheduler = load_scheduler(options, name)
    except UnsupportedScheduler as error:
        raise _refused(str(error)) from error
    if rules.only is not None and scheduler.name != rules.only:
        raise _refused(f"A {pipeline_class} draws with {rules.only}, not with {scheduler.name}.")
    if scheduler.name in rules.refused:
        flow = ", which is for models that were trained by flow matching"
        why = flow if scheduler.name == FLOW_MATCHING else ""
        raise _refused(f"diffusers' {pipeline_class} does not draw with {scheduler.name}{why}.")
    return scheduler


def check_channels(
    scheduler: Scheduler, rules: SchedulerRules, sample: int, prediction: int
) -> None:
    """Check that the scheduler takes a prediction of so many channels.

    Raises RunnerFailure (unsupported-scheduler) where a variance is predicted and the scheduler
    does not take one, and the other way round.
    """
    prediction -= rules.drops
    if rules.drops_variance and prediction == 2 * sample:
        prediction = sample
    options: Any = getattr(scheduler, "options", None)
    kind = getattr(options, "variance_type", None)
    learns = kind in ("learned", "learned_range")
    if scheduler.name in TAKES_THREE_CHANNELS:
        learns = learns and options.prediction_type == "epsilon"
        if learns and sample != 3:
            raise _refused(f"{scheduler.name} takes variance_type {kind!r} for pixels alone.")
    elif learns and prediction != 2 * sample:
        raise _refused(
            f"{scheduler.name} with variance_type {kind!r} needs a model with twice the channels."
        )
    if prediction != sample and not learns:
        raise _refused(f"The model predicts a variance too, which {scheduler.name} does not take.")


def _refused(message: str) -> RunnerFailure:
    return RunnerFailure("unsupported-scheduler", message, "Choose another with --scheduler.")
