"""Guesses how a package will be drawn here, before anything of it is checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from edgegen_runner.contexts import CONTEXTS
from edgegen_runner.runtimes import called, of_target

from edgegen.core.mark import PACKAGE_MARK
from edgegen.core.regular_files import open_regular
from edgegen.runner.runtimes import RUNTIMES

_MOST_BYTES = 16 << 20


class Guess(NamedTuple):
    """A runtime, and what it will draw as the manifest says; names may be of nothing."""

    runtime: str
    family: str
    scheduler: str


def guess(package: Path, wanted: str | None) -> Guess | None:
    """Return what is drawn with; None where nothing can, or what is wrong is for others to tell.

    `wanted` is the runtime that the user asked for, None for the first that is installed.
    """
    try:
        with open_regular(package / PACKAGE_MARK, roots=(package,)) as file:
            manifest = json.loads(file.read(_MOST_BYTES))
        target = CONTEXTS if manifest.get("compiled") else manifest["target"]
        scheduler = (manifest.get("scheduler") or {}).get("class_name")
        family = manifest.get("family")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    usable = of_target(str(target), RUNTIMES)
    if wanted is not None:
        usable = tuple(each for each in usable if each == called(wanted, usable))
    runtime = next((each.name for each in usable if each.is_here), None)
    return None if runtime is None else Guess(runtime, str(family), str(scheduler))
