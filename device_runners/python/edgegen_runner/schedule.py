"""What the runner makes of a scheduler's configuration: asked before a package is built.

``edgegen-runner.pyz --schedule`` reads one JSON object on standard input: ``config`` is that of
``scheduler_config.json``, ``scheduler`` another name or null, ``family``, ``pipeline_class`` and
``steps``, or null, are the package's, ``channels`` those of a sample and ``predicted`` those of the
denoiser's output. The answer is one JSON object: the ``scheduler``'s class and the
``options`` that its name implies; or ``refused`` and a ``hint``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from .errors import RunnerFailure
from .pipelines.base import check_start, set_timesteps
from .pipelines.scheduler import check_channels, make_scheduler
from .schedulers import SHORT_NAMES

_MODES = {
    "stable-diffusion-xl-refiner": "image",
    "stable-diffusion-inpaint": "inpaint",
    "stable-diffusion-xl-inpaint": "inpaint",
}
"""How these families start; the others start from noise."""


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
    scheduler = make_scheduler(
        asked["config"],
        asked["scheduler"],
        family=asked["family"],
        pipeline_class=asked["pipeline_class"],
        mode=_MODES.get(asked["family"], "text"),
    )
    check_channels(scheduler, asked["channels"], asked["predicted"])
    if asked["steps"] is not None:
        set_timesteps(scheduler, asked["steps"])
        check_start(scheduler, scheduler.timesteps[0])
    _, implied = SHORT_NAMES.get(asked["scheduler"] or "", ("", {}))
    return {"scheduler": scheduler.name, "options": dict(implied)}
