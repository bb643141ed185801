"""Puts a package on a device: pushes it, runs its golden case there, and only then switches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import DeviceError, ParityError
from edgegen.core.measurement import GoldenCheck
from edgegen.core.progress import Progress, SilentProgress
from edgegen.devices.chips import cargo_for
from edgegen.devices.device import Device
from edgegen.devices.store import Shipment, Stored, push, switch, verify
from edgegen.runner.backend_choice import Wishes, choose_backend, memory_limit_bytes
from edgegen.runner.job import Backend, DescribeJob, GenerateJob, GoldenJob, Request, Residency
from edgegen.runner.memory_plan import Fitting, Peak, fitting_plan
from edgegen.runner.protocol import Check, Load
from edgegen.runner.session import RunnerSession, generate


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What was deployed. `before` is the version that was current; None where none was.

    `checks` is empty where the package has no golden case: then only its bytes were compared.
    `memory` is how it draws within the limit of the device's profile, None where it has none or the
    package draws from pictures, which nobody gave.
    """

    device: str
    stored: Stored
    before: str | None
    checks: tuple[Check, ...]
    emulated: bool
    memory: Fitting | None = None


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
    computes something else, OutOfMemoryError where the profile's limit of memory cannot be kept,
    and what `push` and the runner raise.
    """
    progress = progress or SilentProgress()
    wishes = wishes or Wishes()
    cargo = cargo_for(device, package, name, wanted=wishes.chip)
    backend = choose_backend(device, cargo.manifest.runs_as, wishes)
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
    memory = _within_limit(device, cargo, stored, backend, wishes, patience_s)
    before = switch(device, stored)
    return Deployment(
        device=device.address,
        stored=stored,
        before=before,
        checks=checks,
        emulated=device.facts.emulated,
        memory=memory,
    )


def _within_limit(
    device: Device,
    cargo: Shipment,
    stored: Stored,
    backend: Backend,
    wishes: Wishes,
    patience_s: float | None,
) -> Fitting | None:
    """Find how the package draws within the limit of memory that the device's profile sets."""
    manifest, facts = cargo.manifest, cargo.manifest.facts
    limit_bytes = memory_limit_bytes(device, manifest.runs_as, wishes)
    if limit_bytes is None or facts.needs_picture or facts.controls or facts.takes_picture_prompt:
        return None
    prompt = "" if manifest.golden is None else manifest.golden.prompt or ""
    job = GenerateJob(
        package=stored.path,
        request=Request(
            prompts=(prompt,) if facts.takes_text else None,
            class_label=None if manifest.generation.classes is None else 0,
        ),
        backend=backend,
    )

    def peak_of(trial: GenerateJob) -> Peak:
        image = generate(trial, device=device, patience_s=patience_s)[0]
        return Peak(pss_bytes=image.peak_memory_bytes, phase=image.peak_phase)

    place = f"{device.address} {cargo.manifest_sha256}"
    return fitting_plan(job, manifest, limit_bytes, peak_of, place=place)


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
