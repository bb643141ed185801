"""Consistency models: pixels from noise in a step or a few, of a class of images or of any.

Source: diffusers/pipelines/consistency_models/pipeline_consistency_models.py.
"""

from __future__ import annotations

from ..request import Request
from ..residency import Components
from .scheduler import SchedulerRules
from .unconditional import Unconditional

SCHEDULERS = SchedulerRules(only="CMStochasticIterativeScheduler")


def ConsistencyModel(components: Components, request: Request) -> Unconditional:  # noqa: N802
    """Return the unconditional loop for a consistency model.

    Raises RunnerFailure (unsupported-scheduler) for another scheduler than its own.
    """
    return Unconditional(components, request, schedulers=SCHEDULERS, scales=True)
