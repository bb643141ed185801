"""Measures two packages in turns on one device, so that what drifts there touches both.

Each kind of run is made of both packages before the next kind: OLD NEW, NEW OLD, OLD NEW, … A slope
over the session (heat, a neighbour's load) makes one pair look slower and the next one faster, and
cancels.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from itertools import zip_longest

from edgegen.core.measurement import Measurement, RunKind
from edgegen.core.progress import Progress
from edgegen.devices.device import Device
from edgegen.measure.plan import BenchPlan
from edgegen.measure.planned_run import PlannedRun
from edgegen.measure.session import Runner, Session, open_session

_ORDER: tuple[RunKind, ...] = ("golden", "cold", "steady", "memory")


def measure_in_turns(
    old: BenchPlan,
    new: BenchPlan,
    device: Device,
    progress: Progress | None = None,
    *,
    patience_s: float | None = None,
    runner: Runner | None = None,
) -> tuple[Measurement, Measurement]:
    """Measure two packages on a device that is connected, and return both measurements.

    The i-th steady run of one stands beside the i-th of the other. Raises what `measure` raises; of
    a measurement that is cut short nothing is kept.
    """
    with ExitStack() as stack:
        sessions = []
        for plan in (old, new):
            session = open_session(plan, device, progress, patience_s=patience_s, runner=runner)
            stack.callback(session.site.leave_nothing)
            sessions.append(session)
        for session, planned in _turns(old, new, (sessions[0], sessions[1])):
            session.run(planned)
        return sessions[0].measurement(), sessions[1].measurement()


def with_memory_runs(plan: BenchPlan, count: int) -> BenchPlan:
    """Return a plan whose memory runs are repeated, since the sampling of one misses a peak."""
    runs = [run for run in plan.runs for _ in range(count if run.kind == "memory" else 1)]
    return replace(plan, runs=tuple(runs))


def _turns(
    old: BenchPlan, new: BenchPlan, sessions: tuple[Session, Session]
) -> list[tuple[Session, PlannedRun]]:
    """Return the runs in their order, each with the session that it belongs to."""
    turns: list[tuple[Session, PlannedRun | None]] = []
    for kind in _ORDER:
        runs = [[run for run in plan.runs if run.kind == kind] for plan in (old, new)]
        for i, pair in enumerate(zip_longest(*runs)):
            both = list(zip(sessions, pair, strict=True))
            turns += both if i % 2 == 0 else reversed(both)
    return [(session, planned) for session, planned in turns if planned is not None]
