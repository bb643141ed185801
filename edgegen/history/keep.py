"""Keeps a new result in the history; that this fails never costs the result itself."""

from __future__ import annotations

from edgegen.core.errors import EdgegenError
from edgegen.core.evaluation import Evaluation
from edgegen.core.measurement import Measurement
from edgegen.history.store import History, is_of_the_package, is_on


def keep(*results: Measurement | Evaluation) -> EdgegenError | None:
    """Add results to the history where it is on; return what was in the way, to be reported."""
    kept = [each for each in results if is_of_the_package(each)]
    if not is_on() or not kept:
        return None
    try:
        with History.open(write=True) as history:
            history.add_all(
                [each for each in kept if isinstance(each, Measurement)],
                [each for each in kept if isinstance(each, Evaluation)],
            )
    except EdgegenError as error:
        return error
    return None
