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
from collections.abc import Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.component_peer import ComponentPeer
from benchmarks.convert_sweep import Comparison, Outcome, failure, run_sweep
from benchmarks.peer_environments import PEERS
from edgegen.core.process import ProcessError

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
        self._peer = ComponentPeer(PEER, SCRIPT, "tflite")

    def convert(self, python: Path, model: Path, folder: Path, recipe: str) -> Iterator[Outcome]:
        """Convert every component of a model, and quantize it where the recipe says so."""
        peer, quantized = self._peer, QUANTIZED[recipe]
        command = "litert_torch.convert(…).export(…)"
        try:
            names, parts = peer.convert(python, model, folder)
        except ProcessError as error:
            yield failure(CONVERTER, command, error)
            return
        if quantized is None:
            files = [peer.file(folder, name) for name in names]
            yield peer.conversion(python, CONVERTER, command, "float32", parts, files)
            return
        command += f", Quantizer with {quantized}"
        for tool, options in ((QUANTIZER, []), (f"{QUANTIZER}, repaired", ["--repair"])):
            output = folder / f"peer-{recipe}"
            output.mkdir()
            files, spent, name = [], [], ""
            words = (quantized, *options)
            try:
                for name in names:
                    files.append(peer.file(output, name))
                    verb, file = "quantize", files[-1]
                    cost = peer.compress(python, folder, name, *words, verb=verb, output=file)
                    spent.append(cost)
            except ProcessError as error:
                yield failure(tool, f"{command}: {name}", error)
            else:
                both = [*parts, *spent]
                yield peer.conversion(python, tool, command, quantized, both, files)
                return
            finally:
                shutil.rmtree(output)


COMPARISON = Comparison(
    target="tflite",
    recipes=tuple(recipe for recipe in QUANTIZED if recipe not in OPTIONAL),
    optional_recipes=OPTIONAL,
    peer=PEER,
    convert=LitertPeer().convert,
)

if __name__ == "__main__":
    sys.exit(run_sweep(COMPARISON, sys.argv[1:], __doc__ or ""))
