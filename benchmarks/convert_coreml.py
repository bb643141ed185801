"""Conversion to Core ML side by side: `edgegen package` and coremltools.

    python benchmarks/convert_coreml.py [--model sd15|emoji|FOLDER] [--recipes …]

The peer converts a network at a time (`coreml_export.py`), so each of the package's components is a
process of its own there; what it spent is their sum, and its peak the highest of them. Every recipe
but fp16 is fp16's package compressed: conversion and compression count.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.conversion import Spent, say, size_bytes, spend, versions
from benchmarks.convert_report import Conversion
from benchmarks.convert_sweep import Comparison, Outcome, failure, run_sweep
from benchmarks.peer_environments import PEERS
from edgegen.core.process import ProcessError
from edgegen.pipelines.read import read_pipeline
from edgegen.pipelines.source import resolve

PEER = PEERS["coreml"]
SCRIPT = Path(__file__).with_name("coreml_export.py")
TOOL = "coremltools"
RECIPES = ("fp16", "int8", "palette8", "palette6", "palette4")
OPTIONAL = ("palette2", "palette1")


class CoreMlPeer:
    """The peer's side. Its float16 packages are converted once, and kept for the compression."""

    def __init__(self) -> None:
        self._converted: dict[str, Spent] = {}

    def convert(self, python: Path, model: Path, folder: Path, recipe: str) -> Iterator[Outcome]:
        """Convert every component of a model, and compress it where the recipe says so."""
        names = [component.name for component in read_pipeline(resolve(str(model))).components]
        output = folder / f"peer-{recipe}"
        output.mkdir()
        command = "coremltools.convert(torch.jit.trace(…), compute_precision=FLOAT16)"
        try:
            parts = [self._convert_once(python, model, folder, name) for name in names]
            stages = [
                part.as_stage(f"convert {name}") for part, name in zip(parts, names, strict=True)
            ]
            packages = [folder / f"{name}.mlpackage" for name in names]
            if recipe != "fp16":
                command += f", coremltools.optimize.coreml: {recipe}"
                for name in names:
                    target = output / f"{name}.mlpackage"
                    job = ["compress", str(folder / f"{name}.mlpackage"), recipe, str(target)]
                    cost = spend([str(python), str(SCRIPT), *job])
                    say(f"{name}: {cost}")
                    stages.append(cost.as_stage(f"compress {name}"))
                packages = [output / f"{name}.mlpackage" for name in names]
        except ProcessError as error:
            yield failure(TOOL, command, error)
            return
        peaks = [stage.peak_memory_bytes for stage in stages]
        yield Conversion(
            tool=TOOL,
            command=command,
            versions=versions(str(python), PEER.toolkits),
            weights=recipe,
            size_bytes=sum(map(size_bytes, packages)),
            wall_s=sum(stage.wall_s for stage in stages),
            cpu_s=sum(stage.cpu_s for stage in stages),
            peak_bytes=None if None in peaks else max(peak or 0 for peak in peaks),
            parts=tuple(stages),
        )
        shutil.rmtree(output)

    def _convert_once(self, python: Path, model: Path, folder: Path, name: str) -> Spent:
        if name not in self._converted:
            target = folder / f"{name}.mlpackage"
            job = ["convert", str(model), name, str(target)]
            self._converted[name] = spend([str(python), str(SCRIPT), *job])
            say(f"{name}: {self._converted[name]}")
        return self._converted[name]


COMPARISON = Comparison(
    target="coreml",
    recipes=RECIPES,
    optional_recipes=OPTIONAL,
    peer=PEER,
    convert=CoreMlPeer().convert,
)

if __name__ == "__main__":
    sys.exit(run_sweep(COMPARISON, sys.argv[1:], __doc__ or ""))
