"""Asks the runner, before a package is built, whether it draws with a scheduler."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from edgegen.core.codec import decode
from edgegen.core.environment import RUNNER_ENVIRONMENT
from edgegen.core.errors import ConfigError, RunnerError
from edgegen.core.model import PipelineSpec, SchedulerSpec
from edgegen.core.process import run
from edgegen.runner.pack import packed_runner

SchedulerOption = bool | int | float | str
_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What the runner says: a scheduler, or why it refuses."""

    scheduler: str = ""
    options: Mapping[str, SchedulerOption] | None = None
    drawn: Mapping[str, SchedulerOption] | None = None
    corrected: tuple[str, ...] = ()
    refused: str = ""
    hint: str = ""


def check_scheduler(
    spec: PipelineSpec,
    config: Mapping[str, Any],
    *,
    name: str | None = None,
    options: Mapping[str, SchedulerOption] | None = None,
    steps: int | None = None,
) -> SchedulerSpec:
    """Return the scheduler that the runner makes of a configuration; `name` asks for another one.

    `options` replace those of the configuration, and those that a name implies. Raises ConfigError
    where the runner lacks the scheduler, or an option of it, where diffusers' pipeline does not
    draw with it, and where it cannot make so many `steps`.
    """
    answer = _answer(spec, config, name=name, options=options, steps=steps)
    return SchedulerSpec(class_name=answer.scheduler, options=answer.options or {})


def drawn_options(
    spec: PipelineSpec, config: Mapping[str, Any]
) -> tuple[Mapping[str, SchedulerOption], tuple[str, ...]]:
    """Return the options that a pipeline's scheduler draws with, and those that others can't set.

    The options are those of its class, with the values of `config`, the defaults of the class and
    the corrections of the pipeline; what is null, a list or infinite is left out. The names are of
    options that the pipeline sets however an image starts. Raises as `check_scheduler` does.
    """
    answer = _answer(spec, config, steps=spec.generation.steps)
    return answer.drawn or {}, answer.corrected


def _answer(
    spec: PipelineSpec,
    config: Mapping[str, Any],
    *,
    name: str | None = None,
    options: Mapping[str, SchedulerOption] | None = None,
    steps: int | None = None,
) -> _Answer:
    (denoiser,) = (component for component in spec.components if component.role == "denoiser")
    question = {
        "config": dict(config),
        "scheduler": name,
        "family": spec.family,
        "start": spec.facts.starts[0],
        "pipeline_class": spec.pipeline_class,
        "channels": spec.generation.latent_channels,
        "predicted": denoiser.outputs[0].shape[1],
        "steps": steps,
        "options": dict(options or {}),
    }
    answer = _ask(json.dumps(question, sort_keys=True))
    if answer.refused:
        raise ConfigError(answer.refused, hint=answer.hint)
    return answer


@cache
def _ask(question: str) -> _Answer:
    completed = run(
        [sys.executable, str(packed_runner()), "--schedule"],
        timeout_s=_TIMEOUT_S,
        env=RUNNER_ENVIRONMENT,
        input=question,
    )
    try:
        return decode(_Answer, json.loads(completed.text), source="the runner's answer")
    except ValueError as error:
        raise RunnerError(
            f"The runner's answer is not JSON: {completed.text[:80]!r}.", hint="Try: edgegen doctor"
        ) from error
