"""Palettes and linear int8 side by side: ours and coremltools', for the same weights and bits.

    python benchmarks/coreml_compression.py [--model emoji|sd15|FOLDER] [--component unet]

A component is exported in fp16 once. coremltools reads that package, compresses it (k-means
palettes of each tensor, symmetric linear int8) and saves it; we compress the same weights. Both
results are decompressed by edgegen's executor, whose decoders are held against coremltools' in the
tests, and compared with the fp16 weights. CPU seconds are those of compressing and saving, the
peer's import of coremltools left out; ours compress and pack every weight. The peer's environment
is made by hand: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.conversion import model_folder, say, spend, versions
from benchmarks.machine import read_machine
from benchmarks.peer_environments import PEERS
from edgegen.compress.codec import Granularity
from edgegen.compress.codecs import CODECS
from edgegen.core.process import ProcessError
from edgegen.mil.mlpackage import load_model
from edgegen.mil.types import pack_bits
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan

PEER = PEERS["coreml"]
SCRIPT = Path(__file__).with_name("coreml_export.py")
RECIPES = ("palette8", "palette6", "palette4", "palette2", "palette1", "int8")
LEAST_ELEMENTS = 2048
"""coremltools leaves smaller weights alone, and so do we."""

Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way of compressing: the PSNR over all weights, and what it took."""

    recipe: str
    tool: str
    psnr_db: float
    cpu_s: float


def weights_of(package: Path) -> dict[str, NDArray[Any]]:
    """Return the large weights of a package, decompressed, by their names."""
    from edgegen.mil.executor.arguments import Arguments
    from edgegen.mil.executor.decompression import DECOMPRESSIONS
    from edgegen.mil.values import read_value
    from edgegen.mil.weight_file import WeightFile

    model, folder = load_model(package)
    file = WeightFile(folder / "weights" / "weight.bin")

    def read(_: str, offset: int, kind: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        return file.read(offset, kind, shape)

    found = {}
    assert model.program is not None
    function = model.program.functions["main"]
    for operation in function.block_specializations[function.opset].operations:
        if operation.type == "const":
            value = read_value(operation.attributes["val"], read)
        elif operation.type in DECOMPRESSIONS:
            values = {
                name: read_value(each, read)
                for name, each in operation.attributes.items()
                if name != "name"
            }
            values |= {
                name: read_value(each.arguments[0].value, read)
                for name, each in operation.inputs.items()
                if each.arguments[0].value is not None
            }
            value = DECOMPRESSIONS[operation.type](Arguments(operation.type, values))
        else:
            continue
        if isinstance(value, np.ndarray) and value.ndim > 1 and value.size > LEAST_ELEMENTS:
            found[operation.outputs[0].name] = value
    return found


def ours(weights: Weights, recipe: str) -> tuple[dict[str, NDArray[Any]], float]:
    """Compress weights, and return them decompressed, and the CPU seconds of compressing."""
    result: dict[str, NDArray[Any]] = {}
    spent_s = 0.0
    for name, weight in weights.items():
        codec = CODECS[recipe]
        started = time.process_time()
        encoded = codec.encode(weight, Granularity(half_scales=True))
        pack_bits(encoded.values, codec.bits).tobytes()
        spent_s += time.process_time() - started
        result[name] = codec.decode(encoded)
    return result, spent_s


def psnr_db(weights: Weights, found: Weights) -> float:
    """Return the PSNR over all weights, each in units of its own range."""
    errors, count = 0.0, 0
    for name in sorted(set(weights) - set(found)):
        raise SystemExit(f"{name} is not among {sorted(found)[:5]} …")
    for name, weight in weights.items():
        wide = weight.astype(np.float64)
        spread = float(np.ptp(wide)) or 1.0
        errors += float((((found[name].astype(np.float64) - wide) / spread) ** 2).sum())
        count += weight.size
    return float(-10 * np.log10(max(errors / count, 1e-30)))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="emoji", help="emoji, sd15, or a folder")
    parser.add_argument("--component", default="unet")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--peer-python", type=Path)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    python = options.peer_python or PEER.python
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="compression-", dir=options.work) as work:
        place = Path(work, "package")
        source = "builtin:emoji" if options.model == "emoji" else str(model_folder(options.model))
        build(
            plan(resolve(source), target="coreml", destination=place, recipe="fp16"), parity=False
        )
        (package,) = (place / options.component).glob("*.mlpackage")
        weights = weights_of(package)
        for recipe in options.recipes:
            found, cpu_s = ours(weights, recipe)
            psnr = psnr_db(weights, found)
            rows.append(Row(recipe=recipe, tool="edgegen", psnr_db=psnr, cpu_s=cpu_s))
            say(rows[-1])
            if python is None:
                continue
            output = Path(work, f"{recipe}.mlpackage")
            job = ["compress", str(package), recipe, str(output), "--time"]
            try:
                spent = spend([str(python), str(SCRIPT), *job])
            except ProcessError as error:
                say(f"coremltools, {recipe}: {error}\n{error.tail[-1000:]}")
                continue
            taken = float((output.parent / f"{output.stem}.seconds").read_text())
            say(f"coremltools, the whole process: {spent}")
            theirs = {
                next((known for known in weights if name.startswith(known)), name): weight
                for name, weight in weights_of(output).items()
            }
            psnr = psnr_db(weights, theirs)
            rows.append(Row(recipe=recipe, tool="coremltools", psnr_db=psnr, cpu_s=taken))
            say(rows[-1])
            shutil.rmtree(output)
    numbers = sum(weight.size for weight in weights.values())
    print(f"# Compression of {options.model}'s {options.component}, {numbers:,} numbers\n")
    print(f"{read_machine().describe()}.")
    if python is not None:
        print(", ".join(f"{k} {v}" for k, v in versions(str(python), PEER.toolkits).items()), "\n")
    print("| recipe | tool | PSNR, dB | CPU s | of the peer's CPU s |\n|---|---|---|---|---|")
    for row in rows:
        other = next((r for r in rows if r.recipe == row.recipe and r.tool != row.tool), None)
        share = f"{row.cpu_s / other.cpu_s:.3f}" if other and row.tool == "edgegen" else ""
        print(f"| {row.recipe} | {row.tool} | {row.psnr_db:.2f} | {row.cpu_s:.2f} | {share} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
