"""What the runner makes of a scheduler's configuration: asked before a package is built.

``edgegen-runner.pyz --schedule`` reads one JSON object on standard input: ``config`` is that of
``scheduler_config.json``, ``scheduler`` another name or null, ``family``, ``pipeline_class``,
``start`` and ``steps``, or null, are the package's, ``channels`` those of a sample and
``predicted`` those of the denoiser's output; ``options`` replace the config's, and those that a
name implies. The answer is one JSON object: the ``scheduler``'s class and the ``options`` that its
name implies or that were given, ``drawn``, all options with the values that it draws with, and
``corrected``, those that the pipeline sets however an image starts; or ``refused`` and a ``hint``.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Optional

from .errors import RunnerFailure, nearest
from .pipelines import scheduler_rules
from .pipelines.base import check_start, set_timesteps
from .pipelines.scheduler import SchedulerRules, check_channels, make_scheduler
from .schedulers import SHORT_NAMES, Scheduler, explicit


def main() -> int:
    """Answer the question on standard input."""
    asked = json.load(sys.stdin)
    try:
        answer = _schedule(asked)
    except RunnerFailure as failure:
        answer = {"refused": failure.message, "hint": failure.hint}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def _schedule(asked: dict[str, Any]) -> dict[str, Any]:
    rules = scheduler_rules(asked["family"])
    given = asked.get("options") or {}
    config = asked["config"]
    class_name, implied = _implied(asked["scheduler"])
    if given:
        config = {**explicit(config), **implied, **given}
    scheduler = make_scheduler(
        config,
        class_name if given else asked["scheduler"],
        rules,
        pipeline_class=asked["pipeline_class"],
        kind=asked["start"],
    )
    check_channels(scheduler, rules, asked["channels"], asked["predicted"])
    if asked["steps"] is not None:
        set_timesteps(scheduler, asked["steps"])
        check_start(scheduler, scheduler.timesteps[0])
    _refuse_unknown(scheduler, given)
    return {
        "scheduler": scheduler.name,
        "options": {**implied, **given},
        "drawn": _drawn(scheduler),
        "corrected": _corrected(rules),
    }


def _drawn(scheduler: Scheduler) -> dict[str, Any]:
    """Return the options' values, without nulls, lists and what is no number in JSON."""
    values = {
        field.name: getattr(scheduler.options, field.name) for field in fields(scheduler.options)
    }
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, (bool, int, str))
        or (isinstance(value, float) and math.isfinite(value))
    }


def _corrected(rules: SchedulerRules) -> list[str]:
    """Return the options that the pipeline sets to one value from noise, a picture and a mask."""
    first, *others = [rules.corrections.get(kind, {}) for kind in ("noise", "picture", "mask")]
    return [name for name in first if all(it.get(name) == first[name] for it in others)]


def _implied(name: Optional[str]) -> tuple[Optional[str], Mapping[str, Any]]:
    """Return the class that a short name stands for, and the options that it implies."""
    return (name, {}) if name is None else SHORT_NAMES.get(name, (name, {}))


def _refuse_unknown(scheduler: Scheduler, given: Mapping[str, Any]) -> None:
    """Refuse options that the scheduler's class lacks, which it would ignore."""
    known = [field.name for field in fields(scheduler.options)]
    for option in given:
        if option not in known:
            raise RunnerFailure(
                "unsupported-scheduler",
                f"{scheduler.name} has no option {option[:80]!r}.",
                nearest(option, known),
            )
