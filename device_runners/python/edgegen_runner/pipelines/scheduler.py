"""Which scheduler draws, and how diffusers' pipeline class reads its configuration.

A scheduler of another name is made from the package's configuration and given to the pipeline, as
``Pipeline.from_pretrained(folder, scheduler=Other.from_pretrained(folder, subfolder="scheduler"))``
of diffusers does: what the pipeline corrects in its own scheduler, it corrects in that one too.
"""

from __future__ import annotations

from collections.abc import Mapping
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

_STABLE_DIFFUSION = ("stable-diffusion", "stable-diffusion-inpaint")
_CORRECTIONS: Mapping[str, Mapping[str, Any]] = {
    "text": {"steps_offset": 1, "clip_sample": False},
    "image": {"steps_offset": 1, "clip_sample": False},
    "inpaint": {"steps_offset": 1, "skip_prk_steps": True},
}
"""What the Stable Diffusion class of each start replaces; those of SDXL replace nothing."""

_WITHOUT_GENERATOR = ("PNDMScheduler", "LMSDiscreteScheduler", "UniPCMultistepScheduler")
"""DDPMPipeline hands each step a random generator, which these refuse."""


def open_scheduler(package: Package, request: Request, mode: str = "text") -> Scheduler:
    """Return the request's scheduler, or the package's own; ``mode`` is that of `Starts`.

    Raises RunnerFailure (unsupported-scheduler), naming what is supported.
    """
    outputs = package.component("unet").outputs.values()
    shape = next(iter(outputs)).shape
    scheduler = make_scheduler(
        package.scheduler_config(),
        request.scheduler,
        family=package.family,
        pipeline_class=package.pipeline_class,
        mode=mode,
    )
    if len(shape) > 1 and isinstance(shape[1], int):
        check_channels(scheduler, package.generation.latent_channels, shape[1])
    if hasattr(scheduler, "eta"):
        scheduler.eta = request.eta
    return scheduler


def make_scheduler(
    config: Mapping[str, Any],
    name: Optional[str],
    *,
    family: str,
    pipeline_class: str,
    mode: str,
) -> Scheduler:
    """Return the scheduler of a configuration, or that of another ``name`` made from it.

    Raises RunnerFailure (unsupported-scheduler) where the runner lacks it, or an option of it, and
    where diffusers' pipeline does not draw with it.
    """
    if pipeline_class == "DDIMPipeline":  # it makes DDIM of whatever it is given
        if name is not None and SHORT_NAMES.get(name, (name,))[0] != "DDIMScheduler":
            raise _refused(f"A DDIMPipeline draws with DDIM alone, not with {name!r}.")
        name = "DDIMScheduler"
    corrections = _CORRECTIONS[mode] if family in _STABLE_DIFFUSION else {}
    try:
        scheduler = load_scheduler({**explicit(config), **corrections}, name)
    except UnsupportedScheduler as error:
        raise _refused(str(error)) from error
    if family == "latent-consistency" and scheduler.name != "LCMScheduler":
        raise _refused(
            f"A latent consistency model is drawn with LCMScheduler, not {scheduler.name}."
        )
    if family == "unconditional" and scheduler.name in _WITHOUT_GENERATOR:
        raise _refused(f"diffusers' {pipeline_class} does not draw with {scheduler.name}.")
    if family != "unconditional" and scheduler.name == "FlowMatchEulerDiscreteScheduler":
        raise _refused(
            f"{scheduler.name} is for models that were trained by flow matching, and diffusers "
            f"refuses it in a {family} pipeline."
        )
    return scheduler


def check_channels(scheduler: Scheduler, sample: int, prediction: int) -> None:
    """Check that the scheduler takes a prediction of so many channels.

    Raises RunnerFailure (unsupported-scheduler) where a variance is predicted and the scheduler
    does not take one, and the other way round.
    """
    options: Any = getattr(scheduler, "options", None)
    kind = getattr(options, "variance_type", None)
    learns = kind in ("learned", "learned_range")
    if scheduler.name == "DPMSolverMultistepScheduler":  # it takes the first three channels
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
