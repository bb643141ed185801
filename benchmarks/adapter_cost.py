"""Measures what a model costs to package with a LoRA, and from one file, beside its folder.

    python benchmarks/adapter_cost.py FOLDER --form 1 [--rank 32] [--rounds 2] [--write NAME]
    python benchmarks/adapter_cost.py FOLDER --also "a ControlNet" "--controlnet FOLDER" …

With `--also` the folder is packaged with those options of `edgegen package` in their place.

FOLDER is a pipeline of full size (`full_size_models.py`), `--form` what the tests' writer calls the
checkpoint of its shape: 1 for Stable Diffusion 1, xl for SDXL. The LoRA is random, in kohya's
layout, in float16, of all linear layers and convolutions of the denoiser and all linear ones of the
text encoders. Packages are built without parity, one after the other; the figures are those of
their conversion's process tree, in `evidence.json`. Both files are written beside FOLDER, once.
Each build begins with its model's files out of the page cache: what is read from the disk costs
processor time too, and at SDXL's shape the forms push each other out of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import Machine, read_machine
from edgegen.core.codec import dump_json

RESULTS = Path(__file__).parent / "results"
GOAL = 1.2
"""What a form may take of processor time and memory, as a multiple of the folder's."""
PREFIXES = {
    "unet": "lora_unet",
    "transformer": "lora_transformer",
    "text_encoder": "lora_te1",
    "text_encoder_2": "lora_te2",
}
DTYPES = {"torch.float16": "F16", "torch.float32": "F32", "torch.int64": "I64"}
FOLDER, LORA, FILE = "the folder", "the folder and a LoRA", "one file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one conversion took: processor time and highest sum of PSS of its process tree."""

    cpu_s: float
    peak_memory_bytes: int
    wall_s: float
    package_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was measured, raw: form → the cost of each round."""

    model: str
    target: str
    what: str
    costs: Mapping[str, tuple[Cost, ...]]
    machine: Machine


def modules(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the modules of a component that have a matrix or a kernel, with its shape."""
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="numpy") as opened:
            for key in opened.keys():  # noqa: SIM118 - it is no dictionary
                shape = tuple(opened.get_slice(key).get_shape())
                if key.endswith(".weight") and len(shape) in (2, 4) and "embedding." not in key:
                    yield key.removesuffix(".weight"), shape


def lora_modules(model: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield all modules of a model that a LoRA changes, in kohya's names."""
    for component, prefix in PREFIXES.items():
        for module, shape in modules(model / component):
            yield f"{prefix}_{module.replace('.', '_')}", shape


def write_lora(model: Path, path: Path, rank: int) -> None:
    """Write a random LoRA of a model."""
    random = np.random.default_rng(0)
    tensors: dict[str, Any] = {}
    for name, (outputs, inputs, *kernel) in lora_modules(model):
        ones = [1] * len(kernel)
        down = random.standard_normal((rank, inputs, *kernel), np.float32).astype(np.float16)
        tensors[f"{name}.lora_down.weight"] = down
        tensors[f"{name}.lora_up.weight"] = np.full((outputs, rank, *ones), 1e-4, np.float16)
        tensors[f"{name}.alpha"] = np.array(rank / 2, np.float16)
    save_file(tensors, path)


def write_one_file(model: Path, form: str, path: Path) -> None:
    """Write a float16 model as one file, tensor by tensor: its pages are mapped, not read."""
    from tests.checkpoints.original import original_tensors

    tensors = original_tensors(model, form)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.numel() * tensor.element_size()
        dtype = DTYPES[str(tensor.dtype)]
        offsets = [begin, end]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.contiguous().numpy().tobytes())


def forget(model: Path) -> None:
    """Drop a file, or a folder's files, from the page cache, with all that waits to be written."""
    os.sync()
    for path in [model] if model.is_file() else sorted(model.rglob("*.*")):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def package(arguments: Sequence[str], target: str, place: Path) -> Cost:
    """Build a package from files that must be read from the disk; return its conversion's cost."""
    for argument in arguments:
        if (path := Path(argument.partition(":")[0])).exists():
            forget(path)
    command = [sys.executable, "-m", "edgegen", "package", *arguments, "-t", target]
    subprocess.run([*command, "--skip-parity", "-o", str(place)], check=True, capture_output=True)
    costs = json.loads((place / "evidence.json").read_text(encoding="utf-8"))["costs"]
    size_bytes = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    shutil.rmtree(place)
    return Cost(
        cpu_s=sum(cost["cpu_s"] for cost in costs),
        peak_memory_bytes=max(cost["peak_memory_bytes"] for cost in costs),
        wall_s=sum(cost["wall_s"] for cost in costs),
        package_bytes=size_bytes,
    )


def table(result: Result) -> str:
    """Return the rows of the forms as Markdown: medians of the rounds."""
    lines = [
        "| packaged from | processor time | of the folder's | a GB of the package, of the folder's "
        "| peak memory | of the folder's |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    own_s, own_bytes = _medians(result.costs[FOLDER])
    own_size = result.costs[FOLDER][0].package_bytes
    for form, costs in result.costs.items():
        cpu_s, peak_bytes = _medians(costs)
        each = cpu_s / own_s * own_size / costs[0].package_bytes
        lines.append(
            f"| {form} | {cpu_s:.1f} s | {cpu_s / own_s:.2f} | {each:.2f} "
            f"| {peak_bytes / 1e9:.2f} GB | {peak_bytes / own_bytes:.2f} |"
        )
    return "\n".join(lines)


def markdown(result: Result) -> str:
    """Return the page of a result."""
    rounds = len(result.costs[FOLDER])
    return (
        f"# {result.model} from a folder, and with what people add to it\n\n"
        f"To {result.target}, without parity{result.what}. Medians of {rounds} "
        f"{'round' if rounds == 1 else 'rounds'}, in turns, each from files out of the page cache; "
        f"at most {GOAL} of the folder's is the goal.\n\n{table(result)}\n\n"
        f"{result.machine.describe()}.\n"
    )


def _medians(costs: Sequence[Cost]) -> tuple[float, float]:
    cpu_s = statistics.median(it.cpu_s for it in costs)
    return cpu_s, statistics.median(it.peak_memory_bytes for it in costs)


def lora_and_file(model: Path, form: str, rank: int) -> tuple[str, dict[str, list[str]]]:
    """Write a LoRA and one file of a model beside it, once; return what they are, and the forms."""
    file = model.with_suffix(".safetensors")
    lora = model.with_name(f"{model.name}-lora.safetensors")
    if not file.is_file():
        write_one_file(model, form, file)
    if not lora.is_file():
        write_lora(model, lora, rank)
    what = (
        f"; the LoRA has rank {rank} on {sum(1 for _ in lora_modules(model)):,} modules "
        f"({lora.stat().st_size / 1e6:,.0f} MB in float16), the file "
        f"{file.stat().st_size / 1e9:.2f} GB"
    )
    return what, {
        FOLDER: [str(model)],
        LORA: [str(model), "--lora", str(lora)],
        FILE: [str(file)],
    }


def main() -> None:
    """Measure, and print or write the result."""
    options = _options()
    model: Path = options.model
    if options.also:
        what, forms = "", {FOLDER: [str(model)]}
        for name, given in options.also:
            forms[f"the folder and {name}"] = [str(model), *shlex.split(given)]
    else:
        what, forms = lora_and_file(model, options.form, options.rank)
    machine = read_machine()
    costs: dict[str, tuple[Cost, ...]] = dict.fromkeys(forms, ())
    with tempfile.TemporaryDirectory(dir=model.parent) as scratch:
        for _ in range(options.rounds):
            for form, arguments in forms.items():
                cost = package(arguments, options.target, Path(scratch) / "package")
                costs[form] = (*costs[form], cost)
                print(form, cost, flush=True)
    result = Result(
        model=model.name,
        target=options.target,
        what=what,
        costs=costs,
        machine=machine,
    )
    print(table(result))
    if options.write:
        (RESULTS / f"{options.write}.json").write_text(dump_json(result), encoding="utf-8")
        (RESULTS / f"{options.write}.md").write_text(markdown(result), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--form", default="1", choices=("1", "2", "xl"))
    parser.add_argument("--also", nargs=2, action="append", metavar=("NAME", "OPTIONS"))
    parser.add_argument("-t", "--target", default="onnx")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--write", metavar="NAME")
    return parser.parse_args()


if __name__ == "__main__":
    main()
