"""One denoiser step in ONNX Runtime: dynamic against fixed axes, and against optimum's file.

    python benchmarks/onnx_step.py [--model sd15|sdxl|emoji|FOLDER] [--rounds N] [--peer]

Every variant is loaded in a process of its own, and they take turns, a step each, so that what
disturbs the machine disturbs them alike. Ratios are medians over the rounds of one variant's step
over the first's in the same round. Memory is the process's highest resident size, file pages
included. `lean` and `fast` are the runner's two ways with weights; optimum loads with the runtime's
defaults, which `fast` is.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.conversion import model_folder, spend
from benchmarks.machine import read_machine
from edgegen.core.manifest import load_manifest
from edgegen.core.process import Child
from edgegen.core.profile import Shapes
from edgegen.devices.host import host_profile
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from tests.peers.environment import OPTIMUM_ONNX

RECIPE = "fp16-storage"
TARGET = "onnx"


@dataclass(slots=True)
class Variant:
    """A file and how it is loaded, and what its steps took."""

    name: str
    path: Path
    memory: str
    loading: Mapping[str, Any] = field(default_factory=dict)
    steps: list[Mapping[str, Any]] = field(default_factory=list)

    def values(self, what: str) -> list[float]:
        return [step[what] for step in self.steps]


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    if options.worker:
        return work(json.loads(options.worker))
    model = model_folder(options.model)
    print(read_machine().describe())
    with tempfile.TemporaryDirectory(prefix="step-", dir=options.work) as work_folder:
        folder = Path(work_folder)
        packages = {shapes: package(model, folder / shapes, shapes) for shapes in _SHAPES}
        variants = [
            Variant(f"{shapes}, {memory}", packages[shapes] / "unet" / "model.onnx", memory)
            for memory in options.memory
            for shapes in _SHAPES
        ]
        if options.peer:
            script = Path(__file__).with_name("optimum_export.py")
            task = ["--task", "text-to-image"]
            export = [str(OPTIMUM_ONNX.python()), str(script), "--model", str(model), *task]
            spend([*export, str(folder / "peer")])
            path = folder / "peer" / "unet" / "model.onnx"
            variants.append(Variant("optimum, defaults", path, "fast"))
        take_turns(variants, inputs_of(packages["fixed"]), options)
    print_table(variants)
    return 0


_SHAPES: tuple[Shapes, ...] = ("dynamic", "fixed")


def package(model: Path, folder: Path, shapes: Shapes) -> Path:
    """Package a model for this machine with dynamic or fixed axes."""
    host = host_profile()
    runtimes = tuple(replace(runtime, shapes=shapes) for runtime in host.runtimes)
    profile = replace(host, runtimes=runtimes)
    source = resolve(str(model))
    planned = plan(source, target=TARGET, destination=folder, profile=profile, recipe=RECIPE)
    return build(planned, parity=False).path


def inputs_of(package: Path) -> dict[str, tuple[str, list[int]]]:
    """Return the type and the shape of each input of a denoiser whose axes are fixed."""
    components = load_manifest(package).components
    unet = next(item.spec for item in components if item.spec.role == "denoiser")
    return {
        tensor.name: (tensor.dtype, [int(axis) for axis in tensor.shape]) for tensor in unet.inputs
    }


def take_turns(
    variants: Sequence[Variant], inputs: Mapping[str, object], options: argparse.Namespace
) -> None:
    """Load every variant, step once to warm up, then step in turn; fill in what it took."""
    with ExitStack() as stack:
        children = []
        for variant in variants:
            job = {
                "path": str(variant.path),
                "memory": variant.memory,
                "threads": options.threads,
                "inputs": inputs,
            }
            command = [sys.executable, str(Path(__file__).resolve()), "--worker", json.dumps(job)]
            child = stack.enter_context(Child(command))
            lines = child.lines()
            variant.loading = answer(child, lines)
            children.append((variant, child, lines))
        for turn in range(options.rounds + 1):
            for variant, child, lines in children:
                child.send("step")
                step = answer(child, lines)
                if turn > 0:  # the first is a warm-up
                    variant.steps.append(step)


def answer(child: Child, lines: Iterator[str]) -> dict[str, Any]:
    for line in lines:
        found: dict[str, Any] = json.loads(line)
        return found
    raise SystemExit(f"{child.describe_exit()}\n{child.log_tail()}")


def work(job: Mapping[str, Any]) -> int:
    """Be one variant's process: load, then make a step a line of standard input."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "device_runners" / "python"))
    import numpy as np
    from edgegen_runner.backends import BackendOptions, open_backend
    from edgegen_runner.package import Component

    began, cpu_began = time.perf_counter(), time.process_time()
    backend = open_backend(BackendOptions(threads=job["threads"], memory=job["memory"]))
    path = Path(job["path"])
    session = backend.load(path, Component("unet", path, {}, {}))
    _say(load_s=time.perf_counter() - began, load_cpu_s=time.process_time() - cpu_began)
    generator = np.random.default_rng(0)
    feeds = {
        name: np.asarray(500 if name == "timestep" else generator.standard_normal(shape), dtype)
        for name, (dtype, shape) in job["inputs"].items()
    }
    for _ in sys.stdin:
        began, cpu_began = time.perf_counter(), time.process_time()
        (output,) = session.run(feeds).values()
        step_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
        _say(
            step_s=step_s,
            cpu_s=cpu_s,
            peak_bytes=_status("VmHWM"),
            anonymous_bytes=_status("RssAnon"),
            deviation=float(output.std()),
        )
    return 0


def print_table(variants: Sequence[Variant]) -> None:
    first = variants[0]
    names = ("load", "step", "CPU", "ratio", "of CPU", "peak", "anon")
    widths = (9, 11, 11, 9, 9, 11, 11)
    heads = "".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True))
    print(f"{'':<20}{heads}")
    for variant in variants:
        ratios = [
            statistics.median(
                one / other
                for one, other in zip(variant.values(what), first.values(what), strict=True)
            )
            for what in ("step_s", "cpu_s")
        ]
        print(
            f"{variant.name:<20}{variant.loading['load_s']:>7.2f} s"
            f"{statistics.median(variant.values('step_s')) * 1e3:>8.1f} ms"
            f"{statistics.median(variant.values('cpu_s')) * 1e3:>8.1f} ms"
            f"{ratios[0]:>9.3f}{ratios[1]:>9.3f}"
            f"{max(variant.values('peak_bytes')) / 1e6:>8.0f} MB"
            f"{max(variant.values('anonymous_bytes')) / 1e6:>8.0f} MB"
        )
    deviations = {round(variant.values("deviation")[-1], 3) for variant in variants}
    print(f"standard deviation of the outputs: {', '.join(map(str, sorted(deviations)))}")


def _say(**values: object) -> None:
    print(json.dumps(values), flush=True)


def _status(name: str) -> int:
    """Return a size of this process's /proc/self/status."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise LookupError(name)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="emoji", help="sd15, sdxl, emoji, or a folder")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--memory", nargs="+", choices=("lean", "fast"), default=["lean", "fast"])
    parser.add_argument("--peer", action="store_true", help="optimum's own export as well")
    parser.add_argument("--work", type=Path, help="folder for what is converted")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
