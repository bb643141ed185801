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
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.conversion import (
    convert_with_edgegen,
    edgegen_command,
    end_children_when_terminated,
    model_folder,
    read_through,
    say,
    size_bytes,
    spend,
    versions,
)
from benchmarks.convert_report import Conversion, Goals, Report, markdown, missed, table
from benchmarks.machine import read_machine
from edgegen.core.codec import dump_json, load_json
from edgegen.core.package import EVIDENCE_NAME, Evidence, StageCost
from tests.peers.environment import OPTIMUM_ONNX

TARGET = "onnx"
GB = 10**9
GOALS: Mapping[str, Goals] = {
    "sd15": Goals(cpu_share=1 / 3, peak_bytes=3 * GB // 2, parity_peak_bytes=3 * GB),
    "sdxl": Goals(cpu_share=1 / 3, peak_bytes=5 * GB // 2, parity_peak_bytes=7 * GB),
}
PEER_TOOLKITS = ("optimum-onnx", "diffusers", "transformers", "torch", "onnx")


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    end_children_when_terminated()
    machine = read_machine()
    model = model_folder(options.model)
    conversions: list[Conversion] = []
    parity: tuple[StageCost, ...] = ()
    with tempfile.TemporaryDirectory(prefix="convert-", dir=options.work) as work:
        folder = Path(work)
        say(f"Converting {model.name}; each tool is silent until it is done.")
        read_through(model)
        if options.only in (None, "ours"):
            ours = convert_with_edgegen(
                model,
                folder / "ours",
                target=TARGET,
                recipe=options.recipe,
                packages=PEER_TOOLKITS[1:],
            )
            conversions.append(ours)
            say(conversions[-1])
            shutil.rmtree(folder / "ours")
        if options.only in (None, "peer"):
            python = options.peer_python or OPTIMUM_ONNX.python()
            conversions.append(convert_with_optimum(python, model, folder / "peer"))
            say(conversions[-1])
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


def convert_with_optimum(python: Path, model: Path, output: Path) -> Conversion:
    """Export a model as `optimum-cli` does, its validation left out, and measure it."""
    script = Path(__file__).with_name("optimum_export.py")
    task = ["--task", "text-to-image"]  # a local folder does not tell the task by itself
    spent = spend([str(python), str(script), "--model", str(model), *task, str(output)])
    return Conversion(
        tool="optimum-cli",
        command="optimum-cli export onnx --model MODEL --task text-to-image, without validation",
        versions=versions(str(python), PEER_TOOLKITS),
        weights="float32",
        size_bytes=size_bytes(output),
        wall_s=spent.wall_s,
        cpu_s=spent.cpu_s,
        peak_bytes=spent.peak_bytes,
    )


def check_with_edgegen(model: Path, output: Path, recipe: str) -> tuple[StageCost, ...]:
    """Package a model with parity; return what each stage cost, as the package's evidence says."""
    # Random weights may miss a threshold that trained ones keep: what counts here is the cost.
    spend(edgegen_command(model, output, TARGET, recipe, "--accept-failed-parity"))
    return load_json(Evidence, output / EVIDENCE_NAME).costs


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
