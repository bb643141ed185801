"""What features that are kept between steps cost in pictures, and save in time, on each target.

    python benchmarks/feature_cache.py FOLDER [--target NAME …] [--intervals 1,2,3,5]
        [--pictures 40] [--rounds 7] [--write NAME]

Packages of `builtin:scenes` are built in FOLDER, where they aren't there yet. One picture is drawn
at each interval in turn, round by round, so that whatever else the machine does falls on all of
them; the table has the median of the rounds. Core ML's reference executor isn't timed. Then the
package draws the suite `known` at each interval, compared with torch's pictures, whose steps all
compute all layers.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import Machine, read_machine
from edgegen.core.codec import dump_json
from edgegen.core.errors import EdgegenError
from edgegen.core.manifest import load_manifest
from edgegen.core.package import PackageManifest
from edgegen.evaluate.run import evaluate_package
from edgegen.evaluate.settings import EvaluateSettings
from edgegen.models.source import resolve
from edgegen.packaging.batch import build_all
from edgegen.packaging.plan import plan
from edgegen.runner.backend_choice import Wishes, backend_here
from edgegen.runner.job import GenerateJob, Request
from edgegen.runner.runtimes import is_for_devices
from edgegen.runner.session import generate

RESULTS = Path(__file__).parent / "results"
MODEL = "builtin:scenes"
PROMPT = "a red cat"
TARGETS = ("onnx", "openvino", "tflite", "coreml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A package at an interval. `image_s` are the rounds' pictures; none where nothing is timed."""

    target: str
    recipe: str
    interval: int
    pictures: int
    right: int
    psnr_db: float
    worst_db: float
    flip: float
    package_bytes: int
    shallow_bytes: int
    image_s: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All rows, and the machine that they were measured on."""

    machine: Machine
    rows: tuple[Row, ...]


def main() -> None:
    options = _options()
    rows: list[Row] = []
    machine = read_machine()
    for target in options.target or TARGETS:
        package = _built(options.folder / target, target)
        rows += _rows(package, options.intervals, options.pictures, options.rounds)
        if options.write:
            path = RESULTS / f"{options.write}.json"
            path.write_text(dump_json(Result(machine=machine, rows=tuple(rows))), encoding="utf-8")
    print(_table(rows))


def _built(place: Path, target: str) -> Path:
    if not place.is_dir():
        planned = plan(resolve(MODEL), target=target, destination=place, cache_interval=2)
        (outcome,) = build_all([planned]).packages
        if isinstance(outcome, EdgegenError):
            raise outcome
    return place


def _rows(package: Path, intervals: Sequence[int], pictures: int, rounds: int) -> list[Row]:
    manifest = load_manifest(package)
    times = _times(package, manifest, intervals, rounds)
    rows = []
    for interval in intervals:
        settings = EvaluateSettings(suites=("known",), pictures=pictures, cache_interval=interval)
        found = evaluate_package(package, settings=settings)
        (suite,) = found.suites
        psnr, flip = suite.metrics["psnr"], suite.metrics["flip"]
        rows.append(
            Row(
                target=manifest.target,
                recipe=manifest.recipe.name,
                interval=interval,
                pictures=len(found.pictures),
                right=sum(bool(it.right) for it in found.pictures),
                psnr_db=psnr.mean,
                worst_db=psnr.worst,
                flip=flip.mean,
                package_bytes=_bytes(manifest, ""),
                shallow_bytes=_bytes(manifest, "unet_shallow/"),
                image_s=times.get(interval, ()),
            )
        )
        print(rows[-1], flush=True)
    return rows


def _bytes(manifest: PackageManifest, folder: str) -> int:
    return sum(file.size_bytes for file in manifest.files if file.path.startswith(folder))


def _times(
    package: Path, manifest: PackageManifest, intervals: Sequence[int], rounds: int
) -> dict[int, tuple[float, ...]]:
    backend = backend_here(manifest.target, Wishes())
    if not is_for_devices(backend.name):
        return {}
    times: dict[int, list[float]] = {interval: [] for interval in intervals}
    for _ in range(rounds):
        for interval in intervals:
            job = GenerateJob(
                package=str(package.absolute()),
                request=Request(prompts=(PROMPT,), seed=1, cache_interval=interval),
                backend=backend,
                warmup_images=1,
            )
            (image,) = generate(job)
            times[interval].append(image.latency_s)
    return {interval: tuple(found) for interval, found in times.items()}


def _table(rows: Sequence[Row]) -> str:
    lines = [
        "| target | `--cache-interval` | a picture | PSNR, mean | PSNR, worst | FLIP | right |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        image = f"{statistics.median(row.image_s) * 1000:.0f} ms" if row.image_s else "not timed"
        lines.append(
            f"| {row.target} {row.recipe} | {row.interval} | {image} | {row.psnr_db:.1f} dB "
            f"| {row.worst_db:.1f} dB | {row.flip:.3f} | {row.right} of {row.pictures} |"
        )
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", action="append", choices=TARGETS)
    parser.add_argument(
        "--intervals", type=lambda text: tuple(map(int, text.split(","))), default=(1, 2, 3, 5)
    )
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
