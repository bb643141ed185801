"""Makes a golden case in a process of its own; torch is never imported here."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.core.errors import EdgegenError, ExportError, ResourceError
from edgegen.core.files import translate_disk_errors
from edgegen.core.memory import PeakSampler
from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase, StageCost
from edgegen.core.process import Child
from edgegen.core.progress import Progress, SilentProgress
from edgegen.reference.case import plan_case, probe_latent_size
from edgegen.reference.child import Job, error_from

STAGE = "reference"

_ENVIRONMENT: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRun:
    """A golden case that was made, and what it cost.

    `peak_weight_bytes` are the most weights, as float32, that were in memory at once.
    """

    case: GoldenCase
    cost: StageCost
    peak_weight_bytes: int


def make_golden(
    spec: PipelineSpec,
    folder: Path,
    destination: Path,
    *,
    full: bool = False,
    progress: Progress | None = None,
    log: Path | None = None,
) -> GoldenRun:
    """Run a pipeline's golden case in torch, and write its files into `destination`.

    `folder` is the pipeline's; with `full` everything has the model's native size. The standard
    error of the process goes to `log`.

    Raises SourceError where the model cannot be built or computes what is not finite,
    MissingDependencyError without torch, ResourceError where memory or disk ran out, and
    ExportError where the process died.
    """
    case = plan_case(spec, folder, full=full, name=destination.name)
    height, width = probe_latent_size(spec, folder, full=full)
    with translate_disk_errors(destination.parent):
        destination.mkdir(parents=True, exist_ok=True)
    job = Job(
        spec=spec,
        folder=str(folder.resolve()),
        destination=str(destination.resolve()),
        case=case,
        latent_height=height,
        latent_width=width,
    )
    started_s, cpu_started_s = time.monotonic(), time.process_time()
    # A folder of its own: torch looks for files that its programs could mean in the current one.
    with tempfile.TemporaryDirectory() as scratch, PeakSampler() as sampler:
        done, child_cpu_s = _follow(job, progress or SilentProgress(), Path(scratch), log)
    return GoldenRun(
        case=case,
        cost=StageCost(
            stage=STAGE,
            wall_s=time.monotonic() - started_s,
            cpu_s=time.process_time() - cpu_started_s + child_cpu_s,
            peak_memory_bytes=sampler.peak_pss_bytes,
        ),
        peak_weight_bytes=int(done["peak_weight_bytes"]),
    )


def _follow(
    job: Job, progress: Progress, scratch: Path, log: Path | None
) -> tuple[dict[str, Any], float]:
    """Run the child to its end; return its last event and its processor seconds."""
    done: dict[str, Any] | None = None
    with (
        progress.step("reference in torch", unit="steps") as step,
        Child(_arguments(), log=log, env=_environment(), cwd=scratch) as child,
    ):
        child.send(job.to_line())
        for line in child.lines():
            event = _parse(line)
            match event["event"]:
                case "total":
                    step.total = event["steps"]
                case "step":
                    step.advance()
                    step.describe(str(event["text"]))
                case "done":
                    done = event
                case "error":
                    raise error_from(event)
        code = child.wait(timeout_s=60)
        if done is None or code != 0:
            raise _death(child)
        return done, child.cpu_s or 0.0


def _arguments() -> list[str]:
    return [sys.executable, "-P", "-m", "edgegen.reference.child"]


def _environment() -> dict[str, str]:
    """Return the child's environment, in which it finds the edgegen that runs here."""
    root = str(Path(__file__).parents[2])
    return {**_ENVIRONMENT, "PYTHONPATH": root}


def _parse(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            return event
    except ValueError:
        pass
    raise ExportError(
        f"The reference process wrote what is not its protocol: {line[:80]!r}.",
        hint="Please report it: something prints where only edgegen may.",
    )


def _death(child: Child) -> EdgegenError:
    tail = child.log_tail()
    ending = child.describe_exit()
    if child.returncode == -9:
        return ResourceError(
            f"The reference process {ending}.", hint="Close other programs, or leave --full out."
        )
    return ExportError(
        f"The reference process {ending}.",
        hint=f"The end of its log: {tail}" if tail else "It left no log.",
    )
