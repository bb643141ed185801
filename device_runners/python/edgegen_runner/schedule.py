"""What the runner makes of a scheduler's configuration: asked before a package is built.

``edgegen-runner.pyz --schedule`` reads one JSON object on standard input: ``config`` is that of
``scheduler_config.json``, ``scheduler`` another name or null, ``family``, ``pipeline_class``,
``start`` and ``steps``, or null, are the package's, ``channels`` those of a sample and
``predicted`` those of the denoiser's output. The answer is one JSON object: the ``scheduler``'s
class and the ``options`` that its name implies; or ``refused`` and a ``hint``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from .errors import RunnerFailure
from .pipelines import scheduler_rules
from .pipelines.base import check_start, set_timesteps
from .pipelines.scheduler import check_channels, make_scheduler
from .schedulers import SHORT_NAMES


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
    scheduler = make_scheduler(
        asked["config"],
        asked["scheduler"],
        rules,
        pipeline_class=asked["pipeline_class"],
        kind=asked["start"],
    )
    check_channels(scheduler, rules, asked["channels"], asked["predicted"])
    if asked["steps"] is not None:
        set_timesteps(scheduler, asked["steps"])
        check_start(scheduler, scheduler.timesteps[0])
    _, implied = SHORT_NAMES.get(asked["scheduler"] or "", ("", {}))
    return {"scheduler": scheduler.name, "options": dict(implied)}
