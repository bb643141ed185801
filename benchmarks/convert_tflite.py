"""Conversion to TFLite side by side: `edgegen package` and litert-torch with ai-edge-quantizer.

    python benchmarks/convert_tflite.py [--model sd15|emoji|FOLDER] [--recipes …]

The peer converts a network at a time (`litert_export.py`), so each of the package's components is
a process of its own there; what it spent is their sum, and its peak the highest of them. Every
recipe but fp32 is fp32's file quantized: conversion and quantizer count. Where the quantizer fails
as it comes, that is told, and it is run again with the repair of `litert_export.py`, marked so.

`int8-static` is run where it is asked for: calibrating, the peer's interpreter keeps every
activation, and both tools' calibrations differ in kind (the peer is given random inputs).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.conversion import Spent, say, size_bytes, spend, versions
from benchmarks.convert_report import Conversion
from benchmarks.convert_sweep import Comparison, Outcome, failure, run_sweep
from benchmarks.peer_environments import PEERS
from edgegen.core.package import StageCost
from edgegen.core.process import ProcessError
from edgegen.pipelines.read import read_pipeline
from edgegen.pipelines.source import resolve

PEER = PEERS["litert"]
SCRIPT = Path(__file__).with_name("litert_export.py")
CONVERTER, QUANTIZER = "litert-torch", "litert-torch + ai-edge-quantizer"
QUANTIZED: Mapping[str, str | None] = {
    "fp32": None,
    "fp16-storage": "fp16",
    "int8-dynamic": "dynamic_wi8_afp32",
    "int8-weights": "weight_only_wi8_afp32",
    "int8-static": "static_wi8_ai8",
    "int8-static-a16": "static_wi8_ai16",
}
"""edgegen's recipe -> the peer's, in the quantizer's own words; fp16 is its FLOAT_CASTING."""

OPTIONAL = ("int8-static", "int8-static-a16")


class LitertPeer:
    """The peer's side. Its float32 files are converted once, and kept for the quantizer."""

    def __init__(self) -> None:
        self._converted: dict[str, Spent] = {}

    def convert(self, python: Path, model: Path, folder: Path, recipe: str) -> Iterator[Outcome]:
        """Convert every component of a model, and quantize it where the recipe says so."""
        names = [component.name for component in read_pipeline(resolve(str(model))).components]
        quantized = QUANTIZED[recipe]
        try:
            for name in names:
                self._convert_once(python, model, folder, name)
        except ProcessError as error:
            yield failure(CONVERTER, "litert_torch.convert", error)
            return
        parts = [self._converted[name].as_stage(f"convert {name}") for name in names]
        if quantized is None:
            files = [folder / f"{name}.tflite" for name in names]
            yield _conversion(python, CONVERTER, "litert_torch.convert(…).export(…)", parts, files)
            return
        for tool, options in ((QUANTIZER, []), (f"{QUANTIZER}, repaired", ["--repair"])):
            command = f"litert_torch.convert(…).export(…), Quantizer with {quantized}"
            output = folder / f"peer-{recipe}"
            output.mkdir()
            files, spent, failed = [], [], False
            for name in names:
                target = output / f"{name}.tflite"
                job = ["quantize", str(folder / f"{name}.tflite"), quantized, str(target)]
                try:
                    cost = spend([str(python), str(SCRIPT), *job, *options])
                except ProcessError as error:
                    yield failure(tool, f"{command}: {name}", error)
                    failed = True
                    break
                spent.append(cost.as_stage(f"quantize {name}"))
                files.append(target)
            if not failed:
                yield _conversion(python, tool, command, [*parts, *spent], files, quantized)
            shutil.rmtree(output)
            if not failed:
                return

    def _convert_once(self, python: Path, model: Path, folder: Path, name: str) -> None:
        if name not in self._converted:
            target = folder / f"{name}.tflite"
            job = ["convert", str(model), name, str(target)]
            self._converted[name] = spend([str(python), str(SCRIPT), *job])
            say(f"{name}: {self._converted[name]}")


def _conversion(
    python: Path,
    tool: str,
    command: str,
    parts: Sequence[StageCost],
    files: Sequence[Path],
    weights: str = "float32",
) -> Conversion:
    """Return what processes that ran one after the other took together."""
    peaks = [part.peak_memory_bytes for part in parts]
    return Conversion(
        tool=tool,
        command=command,
        versions=versions(str(python), PEER.toolkits),
        weights=weights,
        size_bytes=sum(map(size_bytes, files)),
        wall_s=sum(part.wall_s for part in parts),
        cpu_s=sum(part.cpu_s for part in parts),
        peak_bytes=None if None in peaks else max(peak or 0 for peak in peaks),
        parts=tuple(parts),
    )


COMPARISON = Comparison(
    target="tflite",
    recipes=tuple(recipe for recipe in QUANTIZED if recipe not in OPTIONAL),
    optional_recipes=OPTIONAL,
    peer=PEER,
    convert=LitertPeer().convert,
)

if __name__ == "__main__":
    sys.exit(run_sweep(COMPARISON, sys.argv[1:], __doc__ or ""))
