"""Runs one conversion in a process of its own, and says what its whole process tree took.

What the scripts `convert_onnx.py`, `convert_openvino.py` and `convert_tflite.py` share: the model,
edgegen's side, and the one meter that measures both sides.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.convert_report import Conversion
from benchmarks.full_size_models import WRITERS
from edgegen import __version__
from edgegen.core.codec import load_json
from edgegen.core.manifest import load_manifest
from edgegen.core.memory import PeakSampler
from edgegen.core.package import EVIDENCE_NAME, Evidence, StageCost
from edgegen.core.process import Child, ProcessError, run
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.models.source import resolve

MODELS = Path(__file__).resolve().parents[1] / "out" / "models"


@dataclass(frozen=True, slots=True)
class Spent:
    """What a command took: its whole process tree."""

    wall_s: float
    cpu_s: float
    peak_bytes: int | None

    def as_stage(self, stage: str) -> StageCost:
        """Return it as the cost of a part of a conversion."""
        return StageCost(
            stage=stage, wall_s=self.wall_s, cpu_s=self.cpu_s, peak_memory_bytes=self.peak_bytes
        )


def spend(command: Sequence[str]) -> Spent:
    """Run a command to its end; return what it and all that it started took.

    Raises ProcessError where it fails; its `tail` is the end of the command's log.
    """
    started = time.monotonic()
    with Child(command, env={"HF_HUB_OFFLINE": "1"}) as child, PeakSampler(child.pid) as sampler:
        child.close_input()
        for _ in child.lines():
            pass
        code = child.wait()
        if code != 0:
            tail = child.log_tail(40)
            raise ProcessError(
                f"{' '.join(command)} {child.describe_exit()}.\n{tail}", returncode=code, tail=tail
            )
    return Spent(time.monotonic() - started, child.cpu_s or 0.0, sampler.peak_pss_bytes)


def convert_with_edgegen(
    model: Path, output: Path, *, target: str, recipe: str, packages: Sequence[str] = ()
) -> Conversion:
    """Package a model without parity, and measure it.

    `packages` are those of this environment whose versions are told, beside the package's own
    toolkits. The parts are the stages of the package's evidence. Raises ProcessError.
    """
    spent = spend(edgegen_command(model, output, target, recipe, "--skip-parity"))
    toolkits = load_manifest(output).toolkits
    named = {name: toolkits[name] for name in toolkits if name not in ("edgegen", "python")}
    return Conversion(
        tool="edgegen",
        command=f"edgegen package MODEL -t {target} -r {recipe} --skip-parity",
        versions={"edgegen": __version__, **named, **versions(sys.executable, packages)},
        weights=load_recipe(recipe, load_target(target)).storage,
        size_bytes=size_bytes(output),
        wall_s=spent.wall_s,
        cpu_s=spent.cpu_s,
        peak_bytes=spent.peak_bytes,
        parts=load_json(Evidence, output / EVIDENCE_NAME).costs,
    )


def edgegen_command(
    model: Path, output: Path, target: str, recipe: str, *options: str
) -> list[str]:
    """Return the command that packages a model."""
    command = [sys.executable, "-m", "edgegen", "--quiet", "package", str(model)]
    return [*command, "--target", target, "--recipe", recipe, "--output", str(output), *options]


def model_folder(name: str) -> Path:
    """Return the folder of a model; one of random weights is written where it is missing."""
    if name == "emoji":
        return resolve("builtin:emoji").path
    if name not in WRITERS:
        return Path(name).resolve(strict=True)
    folder = MODELS / name
    if not (folder / "model_index.json").is_file():  # written last
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        WRITERS[name](folder)
    return folder


def read_through(folder: Path) -> None:
    """Read a folder's files once, so that neither tool waits for the disk more than the other."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(1 << 24):
                    pass


def size_bytes(path: Path) -> int:
    """Return the size of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def versions(python: str, packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages in an interpreter's environment."""
    script = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
    found = run([python, "-c", script, *packages], timeout_s=60).text.split()
    return dict(zip(packages, found, strict=True))


def end_children_when_terminated() -> None:
    """Let SIGTERM (`timeout`, a closed session) end this process like Ctrl-C does.

    Else a peer that is under way would go on for minutes, and its files would stay.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def say(what: object) -> None:
    """Tell the one who waits how far it is."""
    print(what, file=sys.stderr, flush=True)
