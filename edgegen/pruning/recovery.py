"""Lets a pruned model learn from its original again; torch is never imported here.

What it has learned is kept in the cache by its content: the original, what was cut, the prompts and
the seed. A run that was stopped, or killed, goes on from there, and so does one with more time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.codec import decode, encode
from edgegen.core.errors import ResourceError
from edgegen.core.files import sha256_of, translate_disk_errors
from edgegen.core.folders import cache_folder
from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.core.progress import Progress
from edgegen.core.scratch import ScratchFolder
from edgegen.core.worker import Event, call
from edgegen.models.model_folder import ModelFolder
from edgegen.models.origin import Recovery
from edgegen.models.pipeline_source import SourceSpec, folder_source
from edgegen.reference.case import plan_case

WORKER = "edgegen.pruning.recovery_child"
STAGE = "recovery"
CHECKPOINT_NAME = "checkpoint.safetensors"
_CODE = ("lessons.py", "recovery_child.py", "student.py")
SEED = 73


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverySettings:
    """How long a pruned model learns, from pictures of which prompts."""

    seconds: float
    prompts: tuple[str, ...]
    seed: int = SEED


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the child does: teach the denoiser of `pruned` what that of `source` computes.

    `case` is what all pictures have but prompt, seed and steps. The weights of `pruned` are
    replaced. `checkpoint` is a file that is there, or will be.
    """

    spec: PipelineSpec
    source: SourceSpec
    pruned: str
    case: GoldenCase
    settings: RecoverySettings
    checkpoint: str


def recover(
    model: ModelFolder,
    spec: PipelineSpec,
    weights_sha256: str,
    cuts: object,
    pruned: Path,
    settings: RecoverySettings,
    progress: Progress,
) -> Recovery:
    """Teach the model in the folder `pruned`, and put what it has learned in place of its weights.

    `weights_sha256` is the original's, `cuts` what was cut of it. Raises MissingDependencyError
    without torch, SourceError, ResourceError, and ExportError where the process died.
    """
    case = plan_case(spec, model.path, full=False)
    with (
        _checkpoint_folder(_key(spec, weights_sha256, cuts, case, settings)) as kept,
        progress.step("recovery", total=settings.seconds, unit="seconds") as step,
    ):
        taught_s = 0.0

        def on_event(event: Event) -> None:
            nonlocal taught_s
            if event["event"] == "taught":
                step.advance(max(0.0, min(event["seconds"], settings.seconds) - taught_s))
                taught_s = float(event["seconds"])
                step.describe(str(event["text"]))
            elif event["event"] == "step":
                step.describe(str(event["text"]))

        job = Job(
            spec=spec,
            source=folder_source(model.path),
            pruned=str(pruned.absolute()),
            case=case,
            settings=settings,
            checkpoint=str(kept / CHECKPOINT_NAME),
        )
        finished = call(WORKER, job, stage=STAGE, on_event=on_event)
    return decode(Recovery, finished.done["recovery"], source=STAGE)


def _key(
    spec: PipelineSpec,
    weights_sha256: str,
    cuts: object,
    case: GoldenCase,
    settings: RecoverySettings,
) -> str:
    """Return the name of what is kept: of all that it depends on but the time."""
    room = Path(__file__).parent
    about = {
        "spec": encode(spec),
        "weights": weights_sha256,
        "cuts": encode(cuts),
        "case": encode(case),
        "prompts": settings.prompts,
        "seed": settings.seed,
        "code": {name: sha256_of(room / name) for name in _CODE},
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]


@contextlib.contextmanager
def _checkpoint_folder(key: str) -> Iterator[Path]:
    """Yield a folder of the cache; without a cache, one that goes with this run."""
    folder = cache_folder() / "recovery" / key
    try:
        with translate_disk_errors(folder, setting="EDGEGEN_CACHE_DIR"):
            folder.mkdir(parents=True, exist_ok=True)
    except ResourceError:
        with ScratchFolder("recovery") as scratch:
            yield scratch
    else:
        yield folder
