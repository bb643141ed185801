"""Conversion to OpenVINO side by side: `edgegen package` and `optimum-cli export openvino`.

    python benchmarks/convert_openvino.py [--model sd15|sdxl|emoji|FOLDER] [--recipes …]

Both convert the whole pipeline, tokenizers included, each once, in a process of its own, with the
model's files in the page cache. Neither compares with torch: edgegen's `--skip-parity`; the peer
has no such check. The peer's environment is made by hand: benchmarks/README.md.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.conversion import size_bytes, spend, versions
from benchmarks.convert_report import Conversion
from benchmarks.convert_sweep import Comparison, Outcome, failure, run_sweep
from benchmarks.peer_environments import PEERS
from edgegen.core.process import ProcessError

PEER = PEERS["openvino"]
TOOL = "optimum-cli"
WEIGHT_FORMATS: Mapping[str, str] = {"fp32": "fp32", "fp16-storage": "fp16", "int8": "int8"}
"""edgegen's recipe -> optimum's `--weight-format`."""


def convert_with_optimum(python: Path, model: Path, folder: Path, recipe: str) -> Iterator[Outcome]:
    """Export a model as `optimum-cli` does, and measure it."""
    weights = WEIGHT_FORMATS[recipe]
    script = Path(__file__).with_name("openvino_export.py")
    # a local folder does not tell the task by itself
    options = ["--task", "text-to-image", "--weight-format", weights]
    command = f"optimum-cli export openvino --model MODEL {' '.join(options)}"
    output = folder / f"peer-{recipe}"
    try:
        spent = spend([str(python), str(script), "--model", str(model), *options, str(output)])
    except ProcessError as error:
        yield failure(TOOL, command, error)
    else:
        yield Conversion(
            tool=TOOL,
            command=command,
            versions=versions(str(python), PEER.toolkits),
            weights=weights,
            size_bytes=size_bytes(output),
            wall_s=spent.wall_s,
            cpu_s=spent.cpu_s,
            peak_bytes=spent.peak_bytes,
        )
    shutil.rmtree(output, ignore_errors=True)


COMPARISON = Comparison(
    target="openvino",
    recipes=tuple(WEIGHT_FORMATS),
    peer=PEER,
    convert=convert_with_optimum,
)

if __name__ == "__main__":
    sys.exit(run_sweep(COMPARISON, sys.argv[1:], __doc__ or ""))
