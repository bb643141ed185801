"""Puts a package on a device: pushes it, runs its golden case there, and only then switches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import DeviceError, ParityError
from edgegen.core.measurement import GoldenCheck
from edgegen.core.progress import Progress, SilentProgress
from edgegen.devices.chips import require_chip
from edgegen.devices.device import Device
from edgegen.devices.store import Stored, push, shipment, switch, verify
from edgegen.runner.backend_choice import Wishes, choose_backend
from edgegen.runner.job import Backend, DescribeJob, GoldenJob, Residency
from edgegen.runner.protocol import Check, Load
from edgegen.runner.session import RunnerSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What was deployed. `before` is the version that was current; None where none was.

    `checks` is empty where the package has no golden case: then only its bytes were compared.
    """

    device: str
    stored: Stored
    before: str | None
    checks: tuple[Check, ...]
    emulated: bool


def deploy(
    device: Device,
    package: Path,
    *,
    name: str | None = None,
    residency: Residency = "all",
    wishes: Wishes | None = None,
    progress: Progress | None = None,
    patience_s: float | None = None,
) -> Deployment:
    """Deploy a package to a connected device.

    `current` moves only after the device has verified every byte and the golden case has passed
    there, on the provider that the device's profile names unless `wishes` has another; where
    anything fails, what was current stays. Raises ParityError for a device that
    computes something else, and what `push` and the runner raise.
    """
    progress = progress or SilentProgress()
    cargo = shipment(package, name)
    require_chip(device, cargo.manifest.compiled)
    backend = choose_backend(device, cargo.manifest.runs_as, wishes or Wishes())
    device.agent.lock(f"deploy {cargo.name}")
    stored = push(device, cargo, progress)
    with progress.step("verify"):
        bad = verify(device, cargo)
    if bad:  # what lay there before went bad: it is pushed once more
        stored = push(device, cargo, progress)
        if verify(device, cargo):
            raise DeviceError(
                f"{device.address} does not keep what is written to it: {bad} files went bad.",
                hint="Its card or disk is failing: replace it.",
            )
    checks: tuple[Check, ...] = ()
    if cargo.manifest.golden is not None:
        job = GoldenJob(package=stored.path, residency=residency, backend=backend)
        checks = _check(device, job, progress, patience_s)
    else:
        _start_once(device, backend, patience_s)
    before = switch(device, stored)
    return Deployment(
        device=device.address,
        stored=stored,
        before=before,
        checks=checks,
        emulated=device.facts.emulated,
    )


def _check(
    device: Device, job: GoldenJob, progress: Progress, patience_s: float | None
) -> tuple[Check, ...]:
    session = RunnerSession(device=device, patience_s=patience_s)
    checks = []
    with (
        progress.step("golden case", unit="items") as step,
        closing(session.events(job)) as events,
    ):
        for event in events:
            if isinstance(event, Load):
                step.describe(event.component)
            elif isinstance(event, Check):
                checks.append(event)
                step.advance()
    require_passed(checks, device.address, "Nothing was switched.")
    return tuple(checks)


def require_passed(checks: Sequence[Check | GoldenCheck], device: str, consequence: str) -> None:
    """Raise ParityError for the last check that failed; a list without any check has failed."""
    failed = [check for check in checks if not check.passed]
    if checks and not failed:
        return
    if not failed:
        raise ParityError(
            f"The golden case made no comparison on {device}.", hint="Build the package again."
        )
    worst = failed[-1]
    raise ParityError(
        f"{device} does not compute what the package promises: {worst.layer} {worst.name}: "
        f"{worst.why}. {consequence}",
        hint="Check the package with `edgegen verify`; if it passes elsewhere, look at the "
        "runtime's version there: edgegen devices",
    )


def _start_once(device: Device, backend: Backend, patience_s: float | None) -> None:
    """Start the runner, so that a device that cannot run it is known before anything switches."""
    job = DescribeJob(backend=backend)
    with closing(RunnerSession(device=device, patience_s=patience_s).events(job)) as events:
        for _ in events:
            pass
