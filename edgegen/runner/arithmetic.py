"""Finds the type in which a package is computed fastest and still draws what it promises.

The golden case is drawn in each type that the device has; what came of it is kept in the cache.
"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from edgegen.core.codec import encode
from edgegen.core.errors import ConfigError, EdgegenError, ParityError
from edgegen.core.package import PackageManifest
from edgegen.core.progress import Progress, SilentProgress
from edgegen.core.recipe import Arithmetic
from edgegen.core.remembered import place_of, remember, remembered
from edgegen.devices.device import Device
from edgegen.runner.job import Backend, DescribeJob, GoldenJob, Residency, SeriesJob
from edgegen.runner.protocol import Check, Event, Hello, Load, Part
from edgegen.runner.session import RunnerSession

_ROUNDS = 2
"""The first warms the runtime up; the faster one counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The golden case in one type: the time that it took besides loading, and its worst check.

    `why` is empty where all checks passed.
    """

    arithmetic: Arithmetic
    compute_s: float
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArithmeticChoice:
    """The type that was chosen, and the trials that it was chosen by, in the order of their times.

    There are none where the device has no choice.
    """

    arithmetic: Arithmetic
    trials: tuple[Trial, ...] = ()

    @property
    def reason(self) -> str:
        """Return why, as one sentence."""
        if not self.trials:
            return f"{self.arithmetic}, there is no other here."
        shown = (
            f"{it.arithmetic} {it.compute_s * 1000:.0f} ms{f' ({it.why})' if it.why else ''}"
            for it in self.trials
        )
        return f"{self.arithmetic}, by the golden case: {', '.join(shown)}."


def fastest_arithmetic(
    package: str,
    manifest: PackageManifest,
    manifest_sha256: str,
    backend: Backend,
    *,
    device: Device | None = None,
    residency: Residency = "all",
    patience_s: float | None = None,
    progress: Progress | None = None,
) -> ArithmeticChoice:
    """Return the type in which the golden case of a package is drawn fastest among those that pass.

    `package` is its folder on the device. `backend` says with what it is run; its own arithmetic
    is left out. Raises ConfigError for a package without a golden case, ParityError where it passes
    in no type, and what the runner raises.
    """
    if manifest.golden is None:
        raise ConfigError(
            "The package has no golden case, by which --arithmetic auto chooses.",
            hint="Name a type (--arithmetic bfloat16), or build the package again.",
        )
    own = manifest.recipe.compute
    hello = _hello(replace(backend, arithmetic=None), device, patience_s)
    others = [name for name in hello.runtime.arithmetics if name != own]
    if own != "float32" or not others:
        return ArithmeticChoice(arithmetic=own)
    kept = _kept_as(manifest_sha256, backend, residency, hello)
    known = remembered(ArithmeticChoice, kept)
    if known is not None:
        return known
    types = (own, *(name for name in get_args(Arithmetic) if name in others))
    with (progress or SilentProgress()).step("arithmetic", total=len(types)) as step:
        trials = []
        for name in types:
            step.describe(name)
            job = GoldenJob(
                package=package, residency=residency, backend=replace(backend, arithmetic=name)
            )
            trials.append(_try(name, job, device, patience_s))
            step.advance()
    trials.sort(key=lambda trial: trial.compute_s)
    passed = [trial for trial in trials if not trial.why]
    if not passed:
        raise ParityError(
            f"The golden case passes in no arithmetic here: {trials[0].why}.",
            hint="Check the package with: edgegen verify",
        )
    choice = ArithmeticChoice(arithmetic=passed[0].arithmetic, trials=tuple(trials))
    if all(trial.compute_s < math.inf for trial in trials):  # else one failed, maybe only now
        remember(kept, choice)
    return choice


def arithmetics_of(backend: Backend) -> tuple[Arithmetic, ...]:
    """Return the types in which a backend computes on this machine; raises what the runner does."""
    return _hello(replace(backend, arithmetic=None), None, None).runtime.arithmetics


def _hello(backend: Backend, device: Device | None, patience_s: float | None) -> Hello:
    session = RunnerSession(device=device, patience_s=patience_s)
    with closing(session.events(DescribeJob(backend=backend))) as events:
        for event in events:
            if isinstance(event, Hello):
                return event
    raise AssertionError("a runner begins with hello")  # EventOrder sees to it


def _try(
    name: Arithmetic, job: GoldenJob, device: Device | None, patience_s: float | None
) -> Trial:
    """Draw the golden case in one type, in one process that is warm the second time."""
    times: list[float] = []
    checks: dict[str, Check] = {}
    round_: list[Event] = []
    session = RunnerSession(device=device, patience_s=patience_s)
    try:
        with closing(session.events(SeriesJob(jobs=(job,) * _ROUNDS))) as events:
            for event in events:
                if isinstance(event, Part):
                    times.append(_compute_s(round_))
                    round_ = []
                    continue
                round_.append(event)
                if isinstance(event, Check) and not event.passed:
                    checks.setdefault(event.layer, event)
    except EdgegenError as error:
        if name == "float32":
            raise
        return Trial(arithmetic=name, compute_s=math.inf, why=error.message.rstrip("."))
    worst = next(iter(checks.values()), None)
    why = "" if worst is None else f"{worst.layer} {worst.name}: {worst.why}"
    return Trial(arithmetic=name, compute_s=min(times), why=why)


def _compute_s(events: list[Event]) -> float:
    """Return the time of a golden case, without what loading took."""
    loads = [event for event in events if isinstance(event, Load)]
    first_s = loads[0].start if loads else events[0].t
    return events[-1].t - first_s - sum(load.end - load.start for load in loads)


def _kept_as(manifest_sha256: str, backend: Backend, residency: str, hello: Hello) -> Path:
    """Return the file for a choice: by what it depends on."""
    facts = {
        "manifest": manifest_sha256,
        "backend": encode(replace(backend, arithmetic=None, optimized=None)),
        "residency": residency,
        "runtime": encode(hello.runtime),
        "runner": hello.runner_version,
        "platform": encode(hello.platform),
    }
    return place_of("arithmetic", facts)
