"""What pruning costs, and what recovery gives back, in pictures beside the original's.

    python benchmarks/pruning_curve.py --folder DIR [--model NAME] [--shares 0.9,0.5] [--recover …]

For each share of the denoiser's weights the model is pruned as `edgegen slim` does it, and draws
the first pictures of the suite `known` in torch, from the original's prompts and noise. Pruned
models that are in the folder already are taken as they are. The model's curve takes its place in
`results/pruning-curve.json`; the plot of all of them is `docs/images/pruning.png`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.machine import Machine, read_machine
from edgegen.cli.durations import DURATION
from edgegen.core.codec import dump_json, load_json
from edgegen.core.progress import SilentProgress
from edgegen.evaluate.metrics import scores
from edgegen.evaluate.references import Picture, References, Wanted
from edgegen.evaluate.settings import Asked, EvaluateSettings, examine
from edgegen.models.model_folder import ModelFolder
from edgegen.models.origin import Recovery, read_origin
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.packaging.source_hash import weights_sha256
from edgegen.pruning.prompts import prompts_of
from edgegen.pruning.recovery import RecoverySettings
from edgegen.pruning.run import plan_pruning, prune
from edgegen.scenes.reading import read_picture
from edgegen.scenes.verdict import judge

HERE = Path(__file__).parent
SHARES = "0.9,0.8,0.7,0.6,0.5,0.4,0.3,0.2"
PICTURES = 24
EQUAL_DB = 100.0
SIZE = (720, 400)
MARGIN = (56, 20, 20, 48)
INK = (40, 40, 40)
COLOURS = ((31, 99, 180), (60, 140, 70), (130, 70, 150))
"""One a model; what was recovered is the same, hollow."""
RESULTS = HERE / "results" / "pruning-curve.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A pruned model: how much of it is left, and how near its pictures are to the original's."""

    share: float
    denoiser_bytes: int
    psnr_db: float
    flip: float | None
    right: float | None
    recovery: Recovery | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """All pruned models of one model; `right` and `denoiser_bytes` are the original's."""

    model: str
    pictures: int
    right: float | None
    denoiser_bytes: int
    points: tuple[Point, ...]
    machine: Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """The curves of all models that were measured."""

    curves: tuple[Curve, ...] = ()


def pictures_of(model: ModelFolder, asked: Sequence[Asked], starts: Path) -> list[Picture]:
    spec = read_pipeline(model)
    weights = weights_sha256(model.path, spec.components, SilentProgress())
    wanted = [Wanted(case=each.reference_case, with_steps=False) for each in asked]
    return References(spec, model.path, weights, starts=starts).of(
        wanted, on_picture=lambda _: None
    )


def right_of(asked: Sequence[Asked], pictures: Sequence[Picture]) -> float | None:
    pairs = [(each.question.scene, it.pixels) for each, it in zip(asked, pictures, strict=True)]
    known = [judge(scene, read_picture(it)).all_right for scene, it in pairs if scene is not None]
    return sum(known) / len(known) if known else None


def denoiser_bytes(folder: Path) -> int:
    return sum(it.stat().st_size for it in (folder / "unet").glob("*.safetensors"))


def point(folder: Path, share: float, original: Sequence[Picture], asked: Sequence[Asked]) -> Point:
    drawn = pictures_of(resolve(str(folder)), asked, folder)
    found = [
        scores(theirs.pixels, ours.pixels) for theirs, ours in zip(original, drawn, strict=True)
    ]
    ratios = [it["psnr"] for it in found]
    flips = [it["flip"] for it in found if it.get("flip") is not None]
    origin = read_origin(folder)
    return Point(
        share=share,
        denoiser_bytes=denoiser_bytes(folder),
        psnr_db=float(np.mean([EQUAL_DB if it is None else it for it in ratios])),
        flip=float(np.mean(flips)) if flips else None,
        right=right_of(asked, drawn),
        recovery=None if origin is None else origin.recovery,
    )


def measure(model: str, shares: Sequence[str], recovered: Sequence[str], work: Path) -> Curve:
    folder = resolve(model)
    spec = read_pipeline(folder)
    settings = EvaluateSettings(suites=("known",), pictures=PICTURES)
    asked = examine(folder, spec, spec, settings).asked
    original = pictures_of(folder, asked, work)
    points = []
    for text in (*shares, *recovered):
        share, _, duration = text.partition("=")
        place = work / ("pruned-" + text.replace("=", "-"))
        if not place.exists():
            plan = plan_pruning(folder, float(share), progress=SilentProgress())
            learning = None
            if duration:
                seconds = DURATION.convert(duration, None, None)
                learning = RecoverySettings(seconds=seconds, prompts=prompts_of(spec, folder.path))
            prune(plan, place, recovery=learning)
        points.append(point(place, float(share), original, asked))
        print(points[-1], flush=True)
    return Curve(
        model=model,
        pictures=len(asked),
        right=right_of(asked, original),
        denoiser_bytes=denoiser_bytes(folder.path),
        points=tuple(points),
        machine=read_machine(),
    )


def plot(curves: Sequence[Curve], place: Path) -> None:
    """Draw PSNR over the share of the weights, without recovery and with it."""
    scale = 2
    width, height = (scale * side for side in SIZE)
    left, top, right, bottom = (scale * side for side in MARGIN)
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=13 * scale)
    reached = [it.psnr_db for curve in curves for it in curve.points]
    highest, lowest = 10 * (1 + int(max(reached) // 10)), 10 * int(min(reached) // 10)

    def at(share: float, psnr_db: float) -> tuple[float, float]:
        x = left + (width - left - right) * share
        y = height - bottom - (height - top - bottom) * (psnr_db - lowest) / (highest - lowest)
        return x, y

    for decibels in range(lowest, highest + 1, 10):
        draw.line([at(0, decibels), at(1, decibels)], (225, 225, 225), scale)
        draw.text(at(0, decibels), f"{decibels} dB ", INK, font, anchor="rm")
    for tenth in range(0, 11, 2):
        x, y = at(tenth / 10, lowest)
        draw.text((x, y + 6 * scale), f"{tenth * 10} %", INK, font, anchor="mt")
    draw.text(
        (width / 2, height - 4 * scale),
        "weights of the denoiser that stay",
        INK,
        font,
        anchor="mb",
    )
    row = top + 6 * scale
    for curve, colour in zip(curves, COLOURS, strict=False):
        for learned in (False, True):
            points = [it for it in curve.points if (it.recovery is not None) == learned]
            places = [at(it.share, it.psnr_db) for it in sorted(points, key=lambda it: it.share)]
            if not places:
                continue
            if len(places) > 1 and not learned:
                draw.line(places, colour, 2 * scale)
            for x, y in places:
                box = (x - 8, y - 8, x + 8, y + 8)
                draw.ellipse(box, "white" if learned else colour, colour, 2 * scale)
            name = curve.model.removeprefix("builtin:") + (", recovered" if learned else "")
            draw.ellipse(
                (left + 20 * scale, row - 8, left + 20 * scale + 16, row + 8),
                "white" if learned else colour,
                colour,
                2 * scale,
            )
            draw.text((left + 34 * scale, row), name, colour, font, anchor="lm")
            row += 20 * scale
    image.save(place, optimize=True)


def table(curves: Sequence[Curve]) -> str:
    """Return the table of docs/guides/compressing.md."""
    names = [
        f"`{it.model.removeprefix('builtin:')}`: PSNR, dB | FLIP | right of {it.pictures}"
        for it in curves
    ]
    lines = [
        f"| weights of the denoiser that stay | {' | '.join(names)} |",
        "|---" * (1 + 3 * len(curves)) + "|",
        f"| all | {' | '.join(f'| | {_right(it, it.right)}' for it in curves)} |",
    ]
    rows = {(it.share, _minutes(it)) for curve in curves for it in curve.points}
    for share, minutes in sorted(rows, key=lambda it: (-it[0], it[1])):
        learned = f", after {minutes} minutes of recovery" if minutes else ""
        cells = " | ".join(_cells(curve, share, minutes) for curve in curves)
        lines.append(f"| {100 * share:g} %{learned} | {cells} |")
    return "\n".join(lines) + "\n"


def _minutes(point: Point) -> int:
    return 0 if point.recovery is None else round(point.recovery.seconds / 60)


def _cells(curve: Curve, share: float, minutes: int) -> str:
    for it in curve.points:
        if (it.share, _minutes(it)) == (share, minutes):
            flip = "" if it.flip is None else f"{it.flip:.4f}"
            return f"{it.psnr_db:.1f} | {flip} | {_right(curve, it.right)}"
    return "| |"


def _right(curve: Curve, share: float | None) -> str:
    return "" if share is None else str(round(curve.pictures * share))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="builtin:scenes-4step-tiny")
    parser.add_argument("--shares", default=SHARES)
    parser.add_argument("--recover", nargs="*", default=["0.3=10m", "0.2=10m"])
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    curve = measure(given.model, given.shares.split(","), given.recover, given.folder)
    known = load_json(Curves, RESULTS).curves
    others = [it for it in known if it.model != curve.model]
    curves = (*others, curve)
    RESULTS.write_text(dump_json(Curves(curves=curves)), encoding="utf-8")
    plot(curves, HERE.parent / "docs" / "images" / "pruning.png")
    print(table(curves))


if __name__ == "__main__":
    main()
