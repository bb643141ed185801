"""Measures what a ControlNet adds to the cost of a package, in processor time and memory.

    python benchmarks/control_cost.py FOLDER -t onnx [-o results.json]

FOLDER is a pipeline of full size (`full_size_models.py`). The ControlNet has the settings of its
UNet and random weights in float16. Both packages are built without parity, one after the other; the
figures are those of the conversion's process tree in `evidence.json`, and beside them the bytes of
weights that were read.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.adapter_cost import package
from benchmarks.full_size_models import PipelineWriter
from benchmarks.machine import read_machine
from edgegen.core.codec import encode
from tests.tiny_models import OF_CONTROLNETS


def write_controlnet(model: Path, folder: Path) -> None:
    """Write a ControlNet with the settings of a model's UNet."""
    config = json.loads((model / "unet" / "config.json").read_text(encoding="utf-8"))
    settings = {name: config[name] for name in OF_CONTROLNETS if config.get(name) is not None}
    writer = PipelineWriter(folder.parent, None, sparse=False)
    writer.model(folder.name, "ControlNetModel", settings)


def weight_bytes(*folders: Path) -> int:
    """Return the size of all weights in folders."""
    return sum(it.stat().st_size for folder in folders for it in folder.rglob("*.safetensors"))


def main() -> None:
    """Measure, and print or write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("-t", "--target", default="onnx")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    model: Path = arguments.model
    with tempfile.TemporaryDirectory() as scratch:
        net, place = Path(scratch) / "controlnet", Path(scratch) / "package"
        write_controlnet(model, net)
        rounds: list[dict[str, Any]] = []
        for _ in range(arguments.rounds):
            plain = [str(model)]
            without = package(plain, arguments.target, place)
            steered = package([*plain, "--controlnet", str(net)], arguments.target, place)
            rounds.append({"without": encode(without), "with": encode(steered)})
            print(json.dumps(rounds[-1]), flush=True)
        result = {
            "model": model.name,
            "target": arguments.target,
            "bytes": {"without": weight_bytes(model), "with": weight_bytes(model, net)},
            "rounds": rounds,
            "machine": encode(read_machine()),
        }
    text = json.dumps(result, indent=2) + "\n"
    if arguments.output is None:
        print(text)
    else:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
