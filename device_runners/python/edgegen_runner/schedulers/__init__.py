"""The diffusion schedulers of the runner: numpy only, with the numbers of diffusers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Optional

from ..scheduler_names import (
    LACKED_BECAUSE,
    SCHEDULERS,
    SHORT_NAMES,
    TWO_CALLS_A_STEP,
    calls_of,
)
from .base import Array, Noise, Scheduler, Timestep, UnsupportedScheduler
from .options import explicit

__all__ = [
    "LACKED_BECAUSE",
    "SCHEDULERS",
    "SHORT_NAMES",
    "TWO_CALLS_A_STEP",
    "Array",
    "Noise",
    "Scheduler",
    "Timestep",
    "UnsupportedScheduler",
    "calls_of",
    "explicit",
    "load_scheduler",
]


def load_scheduler(config: Mapping[str, Any], name: Optional[str] = None) -> Scheduler:
    """Make a scheduler from a ``scheduler_config.json``.

    Args:
        config: The file's keys and values; ``_class_name`` is the diffusers class.
        name: Another scheduler to make from the config: a diffusers class name, or a short one of
            `SHORT_NAMES`. As with diffusers' ``Other.from_config(scheduler.config)``, the options
            that both have carry over, the others are ignored, and missing ones take the defaults of
            the class that is made.

    Raises:
        UnsupportedScheduler: The runner does not have the scheduler, or not with such an option.
    """
    wanted = config.get("_class_name") if name is None else name
    class_name, implied = SHORT_NAMES.get(str(wanted), (str(wanted), {}))
    if class_name not in SCHEDULERS:
        raise UnsupportedScheduler(_unknown(None if wanted is None else class_name[:80]))
    module_name, _, attribute = SCHEDULERS[class_name].partition(":")
    scheduler_class = getattr(import_module(f".{module_name}", __name__), attribute)
    scheduler: Scheduler = scheduler_class.from_config({**explicit(config), **implied})
    return scheduler


def _unknown(wanted: Optional[str]) -> str:
    if wanted is None:
        return "The scheduler config has no _class_name. Add it, or name a scheduler."
    if wanted in LACKED_BECAUSE:
        return f"The runner has no {wanted}: {LACKED_BECAUSE[wanted]}."
    known = [*SCHEDULERS, *SHORT_NAMES]
    near = difflib.get_close_matches(wanted, known, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"The runner has no scheduler {wanted!r}. {hint}It has {', '.join(known)}."
