"""Conversion to ONNX side by side: `edgegen package` and `optimum-cli export onnx`.

    python benchmarks/convert_onnx.py [--model sd15|sdxl|emoji|FOLDER] [--only ours|peer] [--parity]

Validation is left out on both sides; `--parity` then packages once more, with edgegen's. Each tool
runs once, one after the other, in a process of its own, with the model's files in the page cache.
CPU seconds are those of the whole process tree. The peer's environment is made on first use
(`.venv-peers`); a full-size model is written once, below `out/models`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.convert_report import Conversion, Goals, Report, markdown, missed, table
from benchmarks.full_size_models import sd15_full, sdxl_full
from benchmarks.machine import read_machine
from edgegen import __version__
from edgegen.core.codec import dump_json, load_json
from edgegen.core.memory import PeakSampler
from edgegen.core.package import EVIDENCE_NAME, Evidence, StageCost
from edgegen.core.process import Child, run
from edgegen.exporters.recipes import load_recipe
from edgegen.exporters.targets import load_target
from edgegen.pipelines.source import resolve
from tests.peers.environment import peers_python

MODELS = Path(__file__).resolve().parents[1] / "out" / "models"
WRITERS = {"sd15": sd15_full, "sdxl": sdxl_full}
GB = 10**9
GOALS: Mapping[str, Goals] = {
    "sd15": Goals(cpu_share=1 / 3, peak_bytes=3 * GB // 2, parity_peak_bytes=3 * GB),
    "sdxl": Goals(cpu_share=1 / 3, peak_bytes=5 * GB // 2, parity_peak_bytes=7 * GB),
}
PEER_TOOLKITS = ("optimum-onnx", "diffusers", "transformers", "torch", "onnx")


@dataclass(frozen=True, slots=True)
class Spent:
    """What a command took: its whole process tree."""

    wall_s: float
    cpu_s: float
    peak_bytes: int | None


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    machine = read_machine()
    model = model_folder(options.model)
    conversions: list[Conversion] = []
    parity: tuple[StageCost, ...] = ()
    with tempfile.TemporaryDirectory(prefix="convert-", dir=options.work) as work:
        folder = Path(work)
        _say(f"Converting {model.name}; each tool is silent until it is done.")
        _read_through(model)
        if options.only in (None, "ours"):
            conversions.append(convert_with_edgegen(model, folder / "ours", options.recipe))
            _say(conversions[-1])
            shutil.rmtree(folder / "ours")
        if options.only in (None, "peer"):
            python = options.peer_python or peers_python()
            conversions.append(convert_with_optimum(python, model, folder / "peer"))
            _say(conversions[-1])
            shutil.rmtree(folder / "peer")
        if options.parity:
            parity = check_with_edgegen(model, folder / "checked", options.recipe)
    report = Report(
        model=options.model if options.model in GOALS else model.name,
        machine=machine,
        conversions=tuple(conversions),
        parity=parity,
        goals=GOALS.get(options.model),
        note=options.note,
    )
    print(table(report))
    if options.json:
        options.json.write_text(dump_json(report), encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(markdown(report), encoding="utf-8")
    return 1 if missed(report) else 0


def convert_with_edgegen(model: Path, output: Path, recipe: str) -> Conversion:
    """Package a model without parity, and measure it."""
    spent = spend(_edgegen(model, output, recipe, "--skip-parity"))
    return Conversion(
        tool="edgegen",
        command=f"edgegen package MODEL -t onnx -r {recipe} --skip-parity",
        versions={"edgegen": __version__, **_versions(sys.executable, PEER_TOOLKITS[1:])},
        weights=load_recipe(recipe, load_target("onnx")).storage,
        size_bytes=_size_bytes(output),
        wall_s=spent.wall_s,
        cpu_s=spent.cpu_s,
        peak_bytes=spent.peak_bytes,
    )


def convert_with_optimum(python: Path, model: Path, output: Path) -> Conversion:
    """Export a model as `optimum-cli` does, its validation left out, and measure it."""
    script = Path(__file__).with_name("optimum_export.py")
    task = ["--task", "text-to-image"]  # a local folder does not tell the task by itself
    spent = spend([str(python), str(script), "--model", str(model), *task, str(output)])
    return Conversion(
        tool="optimum-cli",
        command="optimum-cli export onnx --model MODEL --task text-to-image, without validation",
        versions=_versions(str(python), PEER_TOOLKITS),
        weights="float32",
        size_bytes=_size_bytes(output),
        wall_s=spent.wall_s,
        cpu_s=spent.cpu_s,
        peak_bytes=spent.peak_bytes,
    )


def check_with_edgegen(model: Path, output: Path, recipe: str) -> tuple[StageCost, ...]:
    """Package a model with parity; return what each stage cost, as the package's evidence says."""
    # Random weights may miss a threshold that trained ones keep: what counts here is the cost.
    spend(_edgegen(model, output, recipe, "--accept-failed-parity"))
    return load_json(Evidence, output / EVIDENCE_NAME).costs


def spend(command: Sequence[str]) -> Spent:
    """Run a command to its end; return what it and all that it started took.

    Raises SystemExit with the end of its log where it fails.
    """
    started = time.monotonic()
    with Child(command, env={"HF_HUB_OFFLINE": "1"}) as child, PeakSampler(child.pid) as sampler:
        child.close_input()
        for _ in child.lines():
            pass
        code = child.wait()
        if code != 0:
            raise SystemExit(f"{' '.join(command)}\n{child.describe_exit()}\n{child.log_tail(40)}")
    return Spent(time.monotonic() - started, child.cpu_s or 0.0, sampler.peak_pss_bytes)


def _edgegen(model: Path, output: Path, recipe: str, *options: str) -> list[str]:
    command = [sys.executable, "-m", "edgegen", "--quiet", "package", str(model)]
    return [*command, "--target", "onnx", "--recipe", recipe, "--output", str(output), *options]


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


def _read_through(folder: Path) -> None:
    """Read a model's files once, so that neither tool waits for the disk more than the other."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(1 << 24):
                    pass


def _say(what: object) -> None:
    print(what, file=sys.stderr, flush=True)


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _versions(python: str, packages: Sequence[str]) -> dict[str, str]:
    script = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
    found = run([python, "-c", script, *packages], timeout_s=60).text.split()
    return dict(zip(packages, found, strict=True))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="sd15", help="sd15, sdxl, emoji, or a folder")
    parser.add_argument("--recipe", default="fp16-storage", help="of edgegen's side")
    parser.add_argument("--peer-python", type=Path, help="an interpreter that has optimum-onnx")
    parser.add_argument("--only", choices=("ours", "peer"))
    parser.add_argument("--parity", action="store_true", help="measure parity's cost too")
    parser.add_argument("--work", type=Path, help="folder for what is converted (SD 1.5: 6 GB)")
    parser.add_argument("--note", default="", help="a sentence for the report")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
