"""Measures what adding a LoRA to a model costs a package, in processor time and memory.

    python benchmarks/adapter_cost.py FOLDER -t onnx [--rank 32] [-o results.json]

FOLDER is a pipeline of full size (`full_size_models.py`). The LoRA is random, in kohya's layout, in
float16, of all linear layers and convolutions of the denoiser and all linear ones of the text
encoders. Both packages are built without parity, one after the other; the figures are those of the
conversion's process tree in `evidence.json`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import read_machine
from edgegen.core.codec import encode

PREFIXES = {
    "unet": "lora_unet",
    "transformer": "lora_transformer",
    "text_encoder": "lora_te1",
    "text_encoder_2": "lora_te2",
}


def modules(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the modules of a component that have a matrix or a kernel, with its shape."""
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="numpy") as opened:
            for key in opened.keys():  # noqa: SIM118 - it is no dictionary
                shape = tuple(opened.get_slice(key).get_shape())
                if key.endswith(".weight") and len(shape) in (2, 4) and "embedding." not in key:
                    yield key.removesuffix(".weight"), shape


def write_lora(model: Path, path: Path, rank: int) -> int:
    """Write the LoRA; return how many modules it has."""
    random = np.random.default_rng(0)
    tensors: dict[str, Any] = {}
    count = 0
    for component, prefix in PREFIXES.items():
        if not (model / component).is_dir():
            continue
        for module, (outputs, inputs, *kernel) in modules(model / component):
            name = f"{prefix}_{module.replace('.', '_')}"
            ones = [1] * len(kernel)
            tensors[f"{name}.lora_down.weight"] = random.standard_normal(
                (rank, inputs, *kernel), np.float32
            ).astype(np.float16)
            tensors[f"{name}.lora_up.weight"] = np.full((outputs, rank, *ones), 1e-4, np.float16)
            tensors[f"{name}.alpha"] = np.array(rank / 2, np.float16)
            count += 1
    save_file(tensors, path)
    return count


def package(model: Path, target: str, place: Path, *options: str) -> dict[str, float]:
    """Build a package; return the cost of its conversion."""
    command = [sys.executable, "-m", "edgegen", "package", str(model), "-t", target]
    subprocess.run(
        [*command, "--skip-parity", "-o", str(place), *options], check=True, capture_output=True
    )
    costs = json.loads((place / "evidence.json").read_text(encoding="utf-8"))["costs"]
    shutil.rmtree(place)
    return {
        "cpu_s": sum(cost["cpu_s"] for cost in costs),
        "peak_memory_bytes": max(cost["peak_memory_bytes"] for cost in costs),
        "wall_s": sum(cost["wall_s"] for cost in costs),
    }


def main() -> None:
    """Measure, and print or write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("-t", "--target", default="onnx")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        lora, place = Path(scratch) / "lora.safetensors", Path(scratch) / "package"
        count = write_lora(arguments.model, lora, arguments.rank)
        rounds: list[dict[str, Any]] = []
        for _ in range(arguments.rounds):
            without = package(arguments.model, arguments.target, place)
            adding = package(arguments.model, arguments.target, place, "--lora", str(lora))
            rounds.append({"without": without, "with": adding})
            print(json.dumps(rounds[-1]), flush=True)
        result = {
            "model": arguments.model.name,
            "target": arguments.target,
            "modules": count,
            "rank": arguments.rank,
            "lora_bytes": lora.stat().st_size,
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
