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

from benchmarks.component_peer import ComponentPeer
from benchmarks.convert_sweep import Comparison, Outcome, failure, run_sweep
from benchmarks.peer_environments import PEERS
from edgegen.core.process import ProcessError

PEER = PEERS["coreml"]
SCRIPT = Path(__file__).with_name("coreml_export.py")
TOOL = "coremltools"
RECIPES = ("fp16", "int8", "palette8", "palette6", "palette4")
OPTIONAL = ("palette2", "palette1")


class CoreMlPeer:
    """The peer's side. Its float16 packages are converted once, and kept for the compression."""

    def __init__(self) -> None:
        self._peer = ComponentPeer(PEER, SCRIPT, "mlpackage")

    def convert(self, python: Path, model: Path, folder: Path, recipe: str) -> Iterator[Outcome]:
        """Convert every component of a model, and compress it where the recipe says so."""
        peer, compressed = self._peer, folder / f"peer-{recipe}"
        command = "coremltools.convert(torch.jit.trace(…), compute_precision=FLOAT16)"
        try:
            names, parts = peer.convert(python, model, folder)
            files = [peer.file(folder, name) for name in names]
            if recipe != "fp16":
                command += f", coremltools.optimize.coreml: {recipe}"
                compressed.mkdir()
                files = [peer.file(compressed, name) for name in names]
                parts += [
                    peer.compress(python, folder, name, recipe, verb="compress", output=file)
                    for name, file in zip(names, files, strict=True)
                ]
        except ProcessError as error:
            yield failure(TOOL, command, error)
            return
        yield peer.conversion(python, TOOL, command, recipe, parts, files)
        shutil.rmtree(compressed, ignore_errors=True)


COMPARISON = Comparison(
    target="coreml",
    recipes=RECIPES,
    optional_recipes=OPTIONAL,
    peer=PEER,
    convert=CoreMlPeer().convert,
)

if __name__ == "__main__":
    sys.exit(run_sweep(COMPARISON, sys.argv[1:], __doc__ or ""))
