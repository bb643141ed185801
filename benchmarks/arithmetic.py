"""What does arithmetic in 16 bits cost in pictures, and save in time, with a package as it is?

    python benchmarks/arithmetic.py PACKAGE… [--images 8] [--steps N] [--prompt TEXT]

Each type that the runtime has here draws the same seeds in a process of its own, twice, the types
in turns. The first image of a process is left out of the times. PSNR is against float32's images.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edgegen_runner.metrics import IMAGE_PEAK, psnr_db
from edgegen_runner.png import to_float32

from edgegen.core.errors import ConfigError
from edgegen.core.manifest import load_manifest
from edgegen.drawer import Pixels
from edgegen.runner.backend_choice import Wishes, backend_here
from edgegen.runner.job import GenerateJob, Request
from edgegen.runner.png import drawn_pixels
from edgegen.runner.session import ImageResult, generate

TYPES = ("float32", "bfloat16", "float16")
ROUNDS = 2


def main() -> None:
    options = _options()
    print("| package | arithmetic | time of an image | by float32's | PSNR, mean | PSNR, worst |")
    print("|---|---|---:|---:|---:|---:|")
    for package in options.packages:
        manifest = load_manifest(package)
        times: dict[str, list[float]] = {}
        pictures: dict[str, list[Pixels]] = {}
        for _ in range(ROUNDS):
            for name in TYPES:
                images = _draw(package, name, options)
                if images is not None:
                    made, drawn = images
                    times.setdefault(name, []).extend(it.latency_s for it in made[1:])
                    pictures[name] = drawn
        for name, seconds in times.items():
            against = [
                _psnr(*pair) for pair in zip(pictures["float32"], pictures[name], strict=True)
            ]
            middle, exact = statistics.median(seconds), statistics.median(times["float32"])
            print(
                f"| {manifest.target} `{manifest.recipe.name}` | {name} | {middle * 1000:.1f} ms | "
                f"{middle / exact:.2f} | {_db(float(np.mean(against)))} | {_db(min(against))} |",
                flush=True,
            )


def _draw(
    package: Path, name: str, options: argparse.Namespace
) -> tuple[list[ImageResult], list[Pixels]] | None:
    manifest = load_manifest(package)
    golden = manifest.golden
    prompt = options.prompt or ("a cat" if golden is None else golden.prompt)
    with tempfile.TemporaryDirectory() as folder:
        job = GenerateJob(
            package=str(package.absolute()),
            request=Request(prompts=(prompt,), count=options.images, steps=options.steps),
            output=folder,
            backend=backend_here(manifest.runs_as, Wishes(arithmetic=name)),  # type: ignore[arg-type]  # one of TYPES
        )
        try:
            images = generate(job)
        except ConfigError as error:
            print(f"{name}: {error.message}", file=sys.stderr)
            return None
        return images, [drawn_pixels(it.path, it.sha256) for it in images]


def _psnr(reference: Pixels, value: Pixels) -> float:
    return psnr_db(to_float32(reference), to_float32(value), peak=IMAGE_PEAK)


def _db(value: float) -> str:
    return "equal" if value == math.inf else f"{value:.1f} dB"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", type=Path, nargs="+")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--prompt")
    return parser.parse_args()


if __name__ == "__main__":
    main()
