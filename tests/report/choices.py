"""Choices made up of known numbers, with every standing and origin, for tests of reports."""

import functools
import math
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from edgegen_runner.png import encode_png

from edgegen.core import choice as choices
from edgegen.core import evaluation as evaluations
from edgegen.core.choice import Advice, Choice, Row, Spent, Standing, Way
from edgegen.core.codec import dump_json
from edgegen.core.evaluation import Evaluation, PictureResult, Spread, SuiteResult
from edgegen.core.figures import Figure, Limit, exact
from edgegen.core.kept_pictures import LIST_NAME, KeptPicture, KeptPictures
from edgegen.core.measurement import Measurement
from edgegen.report.picture_pairs import Pair
from tests.statistics.samples import measurement, sustained

MODELS = ("builtin:scenes-1step", "builtin:scenes-4step", "builtin:scenes")
TARGETS = ("onnx", "openvino", "tflite")
RECIPES = {"fp32": 1.0, "fp16-storage": 0.5, "int8-per-channel": 0.26, "palettized-4bit": 0.15}
LIMITS = (
    Limit(figure="size", value=9e6, origin="asked for"),
    Limit(figure="latency", value=0.2, origin="asked for"),
    Limit(figure="memory", value=400e6, origin="the profile raspberry-pi-5"),
    Limit(figure="right", value=0.8, origin="asked for"),
    Limit(figure="psnr", value=22.0, origin="asked for"),
)
PROMPTS = (
    ("known", "one", "a red circle"),
    ("known", "two", "a blue square left of a green triangle"),
    ("known", "count", "three yellow stars"),
    ("stress", "long", "a red circle " * 40),
    ("stress", "other languages", "ein roter Kreis · دائرة حمراء"),
    ("stress", "empty", ""),
)


def choice() -> Choice:
    """A choice of three models on a board, with one winner; a candidate for each case."""
    generator = random.Random(7)
    ways = [
        Way(model=model, target=target, recipe=recipe, steps=steps, width=64, height=64)
        for model, steps in zip(MODELS, (1, 4, 20), strict=True)
        for target in TARGETS
        for recipe in RECIPES
    ]
    rows = [_row(way, index, generator) for index, way in enumerate(ways)]
    rows.sort(key=lambda row: row.figures["size"].value or math.inf)
    fits = [row for row in rows if row.standing == "fits"]
    rows = [replace(row, standing="winner") if row is fits[0] else row for row in rows]
    return Choice(
        schema_version=choices.SCHEMA_VERSION,
        command="edgegen choose builtin:scenes builtin:scenes-4step builtin:scenes-1step "
        "-d ssh://pi@board --max-size 9MB --max-latency 200ms --min-right 0.8 -o out/choice",
        device="ssh://pi@board",
        device_title="Raspberry Pi 5",
        profile="raspberry-pi-5",
        limits=LIMITS,
        rows=tuple(rows),
        spent=Spent(
            wall_s=512.0,
            conversions=9,
            evaluations=8,
            measurements=6,
            conversion_s=201.5,
            evaluation_s=120.25,
            measurement_s=170.0,
        ),
        started_at="2026-01-02T03:04:05+00:00",
        versions={"edgegen": "0.1.0", "onnxruntime": "1.32.0"},
    )


def nothing_fits() -> Choice:
    """The same with a latency that nothing has, and what would help."""
    whole = choice()
    limits = tuple(
        replace(limit, value=0.002) if limit.figure == "latency" else limit for limit in LIMITS
    )
    broken = (limits[1],)
    rows = tuple(
        replace(row, standing="breaks", broken=broken)
        if row.standing in ("winner", "fits", "breaks")
        else row
        for row in whole.rows
    )
    advice = (
        Advice(
            change="fewer steps: 2 in place of 4",
            way=rows[0].way,
            predicted={
                "latency": Figure(value=0.012, low=0.01, high=0.015, origin="predicted"),
                "size": exact(3.1e6, "predicted"),
            },
        ),
        Advice(change="a tiny autoencoder", predicted={"memory": exact(81e6, "predicted")}),
    )
    return replace(whole, limits=limits, rows=rows, advice=advice)


def evaluation(way: Way, *, psnr_db: float = 27.0) -> Evaluation:
    """An evaluation in which every fault, right and wrong pictures occur."""
    generator = random.Random(way.name)
    pictures = []
    for number, (suite, kind, prompt) in enumerate(PROMPTS * 4):
        is_hard = suite == "stress"
        score = psnr_db - 5 * is_hard + generator.gauss(0, 2)
        fault = {9: "noise", 15: "black"}.get(number)
        pictures.append(
            PictureResult(
                suite=suite,
                kind=kind,
                prompt=prompt,
                seed=number // len(PROMPTS),
                scores={
                    "psnr": None if number == 2 else score,
                    "ssim": min(1.0, 0.8 + score / 200),
                    "flip": 0.3 - score / 200,
                },
                steps_psnr_db=tuple(score + 8 - 2 * step for step in range(way.steps)),
                fault=fault,  # type: ignore[arg-type]  # one of the faults
                right=None if suite == "stress" else number % 5 != 1 and fault is None,
                reference_right=None if suite == "stress" else True,
                wrong=("colour",) if number % 5 == 1 else (),
            )
        )
    return Evaluation(
        schema_version=evaluations.SCHEMA_VERSION,
        manifest_sha256="0123456789abcdef" * 4,
        model=way.model,
        weights_sha256="fedcba9876543210" * 4,
        target=way.target,
        recipe=way.recipe,
        runtime="onnxruntime 1.32.0, CPUExecutionProvider",
        steps=way.steps,
        guidance=3.0,
        width=way.width,
        height=way.height,
        reference="torch 2.9.0, diffusers 0.35.0, float32",
        reference_steps=way.steps,
        suites=tuple(_suite(name, pictures) for name in ("known", "stress")),
        pictures=tuple(pictures),
        warnings=("LPIPS was left out: its weights are not here.",),
    )


def evaluations_of(whole: Choice) -> dict[str, Evaluation]:
    """The evaluations that the rows name."""
    return {
        row.evaluation: evaluation(row.way, psnr_db=row.figures["psnr"].value or 20.0)
        for row in whole.rows
        if row.evaluation is not None
    }


def measurements_of(whole: Choice) -> dict[str, Measurement]:
    """The measurements of the winner, which is sustained, and of some that fit."""
    return {
        row.measurement: sustained() if row.standing == "winner" else measurement(images=3)
        for row in [*whole.winners, *(row for row in whole.rows if row.standing == "fits")][:4]
        if row.measurement is not None
    }


class Drawn:
    """Pictures that are drawn when they are asked for: a disc, and noise on the package's."""

    def __init__(self, *, side: int = 64, noise: float = 20.0) -> None:
        self._side, self._noise = side, noise

    def pair(self, index: int) -> Pair:
        """Return a disc of a colour of its own, and the same with noise."""
        return _disc(index % 8, self._side, self._noise)


@functools.cache
def _disc(seed: int, side: int, noise: float) -> Pair:
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    paper = np.full((side, side, 3), 235.0)
    paper[rows**2 + columns**2 < 0.08] = generator.integers(0, 200, 3)
    noisy = paper + generator.normal(0, noise, paper.shape)
    return Pair(
        reference=encode_png(paper.astype(np.uint8)),
        package=encode_png(noisy.clip(0, 255).astype(np.uint8)),
    )


def write_result(folder: Path, whole: Choice) -> None:
    """Write the folder of a choice, with pictures of the first evaluation."""
    measurements = measurements_of(whole)
    for name, value in {**evaluations_of(whole), **measurements, "choice.json": whole}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(dump_json(value), encoding="utf-8")
    first = next(row for row in whole.winners if row.evaluation is not None)
    write_pictures((folder / str(first.evaluation)).parent / "pictures", evaluation(first.way))


def write_pictures(folder: Path, of: Evaluation) -> None:
    """Write the pictures of an evaluation as `edgegen evaluate` does."""
    folder.mkdir(parents=True)
    kept = []
    for index, result in enumerate(of.pictures):
        pair = Drawn().pair(index)
        for whose, png in (("reference", pair.reference), ("package", pair.package)):
            assert png is not None
            (folder / f"{index}-{whose}.png").write_bytes(png)
        kept.append(
            KeptPicture(
                index=index,
                suite=result.suite,
                number=index,
                reference=f"{index}-reference.png",
                package=f"{index}-package.png",
            )
        )
    listed = KeptPictures(schema_version=1, pictures=tuple(kept))
    (folder / LIST_NAME).write_text(dump_json(listed), encoding="utf-8")


def _row(way: Way, index: int, generator: random.Random) -> Row:
    bits = RECIPES[way.recipe]
    size = 15.5e6 * bits * generator.uniform(0.95, 1.2)
    latency = 0.02 * way.steps * generator.uniform(0.8, 1.4) + 0.012
    psnr = 22 + 14 * bits + generator.uniform(-3, 3)
    right = min(0.99, 0.72 + 0.04 * math.log2(way.steps * 4) + 0.1 * bits)
    figures: dict[str, Figure] = {
        "size": exact(size, "measured" if index % 4 else "predicted", "headers of the weights"),
        "latency": _about(latency, 0.03, "measured", "Raspberry Pi 5, 2026-01-02"),
        "memory": _about(180e6 + 6 * size, 0.01, "measured"),
        "energy": _about(latency * 6, 0.02, "measured"),
        "slowdown": _about(1.05 + latency / 10, 0.01, "measured"),
        "right": _about(right, 0.04, "measured"),
        "psnr": _about(psnr, 0.02, "measured"),
        "ssim": _about(0.8 + psnr / 220, 0.01, "measured"),
    }
    standing: Standing = "fits"
    why = ""
    match index % 12:
        case 3:
            standing, why = "failed", "The converter does not hold aten.glu.default."
            figures = {"size": figures["size"]}
        case 5:
            figures |= {"latency": _about(latency, 0.4, "predicted", "a probe of the device")}
            standing, why = "not needed", "A smaller one fits."
            figures = {name: figures[name] for name in ("size", "latency")}
        case 7:
            figures |= {"latency": _about(latency, 0.1, "measured elsewhere", "adb://X1, May 1")}
            if generator.random() < 0.5:
                figures.pop("latency")
                standing, why = "unknown", "The device was gone."
        case 10:
            standing, why = "not tried", "The run was interrupted."
            figures = {"size": figures["size"]}
    broken = tuple(
        limit for limit in LIMITS if figures.get(limit.figure, Figure()).passes(limit) is False
    )
    if standing == "fits" and broken:
        standing = "breaks"
    done = standing in ("fits", "breaks", "unknown")
    key = f"{way.model.removeprefix('builtin:')}-{way.target}-{way.recipe}"
    return Row(
        way=way,
        figures=figures,
        standing=standing,
        broken=broken if standing == "breaks" else (),
        why=why,
        package=f"packages/{key}" if done else None,
        evaluation=f"evaluations/{key}/evaluation.json" if done else None,
        measurement=f"measurements/{key}.json" if done and "latency" in figures else None,
        built=done,
        measured=done,
    )


def _about(value: float, share: float, origin: str, source: str = "") -> Figure:
    return Figure(
        value=value,
        low=value * (1 - share),
        high=value * (1 + share),
        origin=origin,  # type: ignore[arg-type]  # one of the origins
        source=source,
    )


def _suite(name: str, pictures: list[PictureResult]) -> SuiteResult:
    own = [it for it in pictures if it.suite == name]
    metrics: dict[str, Spread] = {}
    for metric in ("psnr", "ssim", "flip"):
        values = sorted(100.0 if (it := each.scores[metric]) is None else it for each in own)
        metrics[metric] = Spread(
            count=len(values),
            mean=sum(values) / len(values),
            median=values[len(values) // 2],
            worst=values[-1] if metric == "flip" else values[0],
            p10=values[len(values) // 10],
            p90=values[-len(values) // 10],
            equal=sum(each.scores[metric] is None for each in own),
        )
    faults: Mapping[str, int] = {
        fault: count
        for fault in ("black", "constant", "not finite", "noise")
        if (count := sum(it.fault == fault for it in own))
    }
    known = [it.right for it in own if it.right is not None]
    return SuiteResult(
        suite=name,
        pictures=len(own),
        metrics=metrics,
        faults=faults,
        right=sum(known) / len(known) if known else None,
        reference_right=1.0 if known else None,
    )
