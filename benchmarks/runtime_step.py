"""One guided denoiser step on each runtime: time, memory, and how near it is to float32.

    python benchmarks/runtime_step.py [--model sd15|emoji|FOLDER]        builds what it measures
    python benchmarks/runtime_step.py PACKAGE… --reference PACKAGE       measures what there is

Packages take turns (A B C, A B C, …). A turn is a process of its own, alone on the machine: the
runner's backend loads the denoiser, steps once to warm up, and then `--steps` times. So a turn is
what `edgegen.statistics.latencies` calls a restart, and no two large models are in memory at once.

A step is one call of the runner's own `Denoiser`, with guidance: one call of the runtime where the
denoiser takes two samples, two calls where its file is fixed to one. Inputs are the same for all:
normal numbers of one seed, timestep 501. PSNR compares the prediction with the prompt
(guidance 1: nothing is amplified) with that of the reference, ONNX in float32. Memory is the
highest sum of PSS, and the anonymous part of it at that moment: what the system cannot take back.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.answers import answer, last_line
from benchmarks.conversion import (
    edgegen_command,
    end_children_when_terminated,
    model_folder,
    read_through,
    say,
    spend,
)
from benchmarks.results_files import keep
from benchmarks.runtime_step_report import Report, Turn, VariantResult, markdown, table
from edgegen.core.memory import PeakSampler, read_tree
from edgegen.core.process import Child, ProcessError

VARIANTS = (
    ("onnx", "fp16-storage"),
    ("openvino", "fp16-storage"),
    ("openvino", "int8"),
    ("tflite", "fp32"),
    ("tflite", "fp16-storage"),
    ("tflite", "int8-dynamic"),
)
"""Targets and recipes that are built where no package is named; ratios are over the first."""
REFERENCE = ("onnx", "fp32")
SEED, TIMESTEP = 20, 501.0


@dataclass(slots=True)
class Variant:
    """A package, and what its turns found; `facts` are what its process says of it."""

    package: Path
    facts: Mapping[str, Any] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)
    failure: str | None = None


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    if options.worker:
        return work(json.loads(options.worker))
    # Not in the worker, whose memory is measured.
    from benchmarks.machine import read_machine

    end_children_when_terminated()
    machine = read_machine()
    with tempfile.TemporaryDirectory(prefix="step-", dir=options.work) as name:
        folder = Path(name)
        packages, reference = options.packages, options.reference
        failed: list[str] = []
        if not packages:
            model = model_folder(options.model)
            packages, failed = _build(model, folder, VARIANTS)
            if reference is None:
                built, lost = _build(model, folder, [REFERENCE])
                reference, failed = next(iter(built), None), [*failed, *lost]
        variants = [Variant(package) for package in packages]
        found = folder / "outputs"
        found.mkdir()
        if reference is not None:
            say(f"reference: {reference}")
            golden = Variant(reference)
            _turn(golden, options, found / "reference.npy", warmups=0, steps=1)
            if golden.failure is not None:
                failed = [*failed, f"the reference {reference.name} failed: {golden.failure}"]
        _take_turns(variants, options, found)
        report = Report(
            model=options.model if not options.packages else "the packages named",
            machine=machine,
            threads=options.threads,
            reference=None if reference is None else reference.name,
            variants=tuple(
                _result(variant, _distance_db(found, index))
                for index, variant in enumerate(variants)
            ),
            failures=tuple(failed),
            note=options.note,
        )
    print(table(report))
    if options.write:
        keep(options.write, report, markdown(report))
    return 0


def _build(
    model: Path, folder: Path, wanted: Sequence[tuple[str, str]]
) -> tuple[list[Path], list[str]]:
    """Package a model for each target and recipe; return the packages, and what failed."""
    packages, failed = [], []
    for target, recipe in wanted:
        output = folder / f"{target}-{recipe}"
        say(f"packaging {output.name}")
        try:
            spend(edgegen_command(model, output, target, recipe, "--skip-parity"))
            packages.append(output)
        except ProcessError as error:
            failed.append(f"{output.name} was not built: {last_line(error.tail)}")
    return packages, failed


def _take_turns(variants: Sequence[Variant], options: argparse.Namespace, found: Path) -> None:
    for turn in range(options.rounds):
        for index, variant in enumerate(variants):
            if variant.failure is not None:
                continue
            say(f"round {turn + 1} of {options.rounds}: {variant.package.name}")
            output = found / f"{index}.npy"
            _turn(variant, options, output, warmups=options.warmups, steps=options.steps)


def _turn(
    variant: Variant, options: argparse.Namespace, output: Path, *, warmups: int, steps: int
) -> None:
    """Load and step in a process of its own; add what was found to the variant."""
    read_through(variant.package)
    job = {
        "package": str(variant.package),
        "memory": options.memory,
        "threads": options.threads,
        "pixels": options.pixels,
        "output": str(output),
    }
    command = [sys.executable, str(Path(__file__).resolve()), "--worker", json.dumps(job)]
    with Child(command) as child:
        try:
            lines = child.lines()
            began = answer(child, lines)
            with PeakSampler(child.pid) as sampler:
                child.send("load")
                loaded = answer(child, lines)
                held = read_tree(child.pid)
                made = []
                for _ in range(warmups + steps):
                    child.send("step")
                    made.append(answer(child, lines))
            child.send("end")
            child.wait(60)
        except ProcessError as error:
            variant.failure = last_line(error.tail)
            say(f"{variant.package.name} failed: {variant.failure}")
            return
    variant.facts = began
    peak = sampler.at_peak
    variant.turns.append(
        Turn(
            load_s=loaded["wall_s"],
            load_cpu_s=loaded["cpu_s"],
            warmup_s=tuple(each["wall_s"] for each in made[:warmups]),
            step_s=tuple(each["wall_s"] for each in made[warmups:]),
            step_cpu_s=tuple(each["cpu_s"] for each in made[warmups:]),
            loaded_bytes=None if held is None else held.pss_bytes,
            loaded_anonymous_bytes=None if held is None else held.anonymous_bytes,
            peak_bytes=None if peak is None else peak.pss_bytes,
            peak_anonymous_bytes=None if peak is None else peak.anonymous_bytes,
        )
    )


def _result(variant: Variant, psnr_db: float | None) -> VariantResult:
    facts = variant.facts
    return VariantResult(
        name=variant.package.name,
        runtime=facts.get("runtime"),
        calls_per_step=facts.get("calls"),
        turns=tuple(variant.turns),
        psnr_db=psnr_db if psnr_db is not None and math.isfinite(psnr_db) else None,
        equal=psnr_db == math.inf,
        failure=variant.failure,
    )


def _distance_db(found: Path, index: int) -> float | None:
    """Return how far a variant's prediction is from the reference's; None without either."""
    import numpy as np
    from edgegen_runner.metrics import psnr_db

    reference, value = found / "reference.npy", found / f"{index}.npy"
    if not reference.is_file() or not value.is_file():
        return None
    return psnr_db(np.load(reference), np.load(value))


def work(job: Mapping[str, Any]) -> int:
    """Be one turn's process: say what is run, then load and step, a line of input each."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "device_runners" / "python"))
    import numpy as np
    from edgegen_runner.backends import BackendOptions, open_backend
    from edgegen_runner.package import load_package, read_json_object
    from edgegen_runner.pipelines.denoiser import Conditioning, Denoiser, Guidance
    from edgegen_runner.residency import Components
    from edgegen_runner.runtimes import of_target

    package = load_package(Path(job["package"]))
    manifest = read_json_object(package.folder / "edgegen.json")
    name = next(
        str(each["spec"]["name"])
        for each in manifest["components"]
        if each["spec"]["role"] == "denoiser"
    )
    inputs = package.component(name).inputs
    backend = open_backend(
        BackendOptions(
            name=of_target(manifest["target"])[0].name, threads=job["threads"], memory=job["memory"]
        )
    )
    components = Components(package, backend, "all", lambda kind, **values: None)
    sizes = _sizes(package.generation, job["pixels"])
    generator = np.random.default_rng(SEED)
    shapes = {
        key: (1, *(sizes[axis] if isinstance(axis, str) else axis for axis in tensor.shape[1:]))
        for key, tensor in inputs.items()
        if key != "timestep"
    }
    sample = generator.standard_normal(shapes.pop("sample"), np.float32)
    positive, negative = (
        {key: generator.standard_normal(shape, np.float32) for key, shape in shapes.items()}
        for _ in range(2)
    )
    denoiser = Denoiser(components, Conditioning(positive, negative), Guidance(1.0))
    calls = 2 if inputs["sample"].shape[0] == 1 else 1
    _tell(runtime=f"{backend.name} {backend.version}", calls=calls)
    prediction = None
    for line in sys.stdin:
        if line.strip() == "end":
            break
        began, cpu_began = time.perf_counter(), time.process_time()
        if line.strip() == "load":
            components.load([name])
        else:
            prediction = denoiser.predict(sample, TIMESTEP)
        _tell(wall_s=time.perf_counter() - began, cpu_s=time.process_time() - cpu_began)
    if prediction is not None:
        np.save(job["output"], prediction)
    components.close()
    return 0


def _sizes(generation: Any, pixels: int | None) -> dict[str, int]:
    """Return the open axes' sizes: the model's own, or those of so many pixels a side."""
    scale = generation.vae_scale_factor
    height, width = pixels or generation.height, pixels or generation.width
    return {
        f"height / {scale}": height // scale,
        f"width / {scale}": width // scale,
        "height": height,
        "width": width,
        "sequence": generation.text_length or 77,
    }


def _tell(**values: object) -> None:
    print(json.dumps(values), flush=True)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("packages", nargs="*", type=Path, help="packages of one model")
    parser.add_argument("--model", default="sd15", help="sd15, emoji, or a folder")
    parser.add_argument("--reference", type=Path, help="a package to compare the outputs with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="of each turn")
    parser.add_argument("--warmups", type=int, default=1, help="of each turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pixels", type=int, help="side of the image, where axes are open")
    parser.add_argument("--memory", choices=("auto", "lean", "fast"), default="auto")
    parser.add_argument("--work", type=Path, help="folder for what is built (SD 1.5: about 17 GB)")
    parser.add_argument("--note", default="", help="a sentence for the report")
    parser.add_argument("--write", metavar="NAME", help="to benchmarks/results/NAME.json and .md")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
