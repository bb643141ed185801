"""What the built-in models draw of what captions ask for, and what each recipe costs of it.

    python benchmarks/builtin_scores.py [--models …] [--of-each N] [--every-caption]
    python benchmarks/builtin_scores.py --packages [--targets …] [--of-each-package N]

Every model is drawn with diffusers at its own steps and guidance: N scenes of each group of the
seen and of the held-out combinations. `--every-caption` draws, besides, every caption of every
single thing with the seeds 0 to 4 (the model card's figure). `--packages` draws the first of the
same scenes from a package in each recipe, with edgegen's runner on this machine, and gives beside
each score the PSNR of its pictures against diffusers'. `--pictures FOLDER` puts the first scenes of
each group on one page for each model and split, with what is wrong in each. `--write NAME` keeps
what an earlier run has written of other models.

A picture is read by matching (`edgegen/scenes/reading.py`); the reader's own accuracy, on pictures
that are known and on what the autoencoder makes of them, is measured in the same run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray
from PIL import Image

from benchmarks.machine import Machine, read_machine
from edgegen.core.codec import dump_json, load_json
from edgegen.core.errors import EdgegenError
from edgegen.exporters.targets import load_target, target_names
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from edgegen.pipelines.builtin_models import BUILTIN_MODELS
from edgegen.pipelines.read import read_pipeline
from edgegen.pipelines.source import resolve
from edgegen.quality.draw_scenes import package_drawer
from edgegen.quality.metrics import psnr_db
from edgegen.reference.draw_scenes import torch_drawer
from edgegen.report.pictures import Tile, grid
from edgegen.scenes.combinations import Split
from edgegen.scenes.render import render
from edgegen.scenes.scene import PICTURE_PX
from edgegen.scenes.scores import (
    Draw,
    Request,
    Score,
    group_of,
    judge_all,
    sampled_requests,
    score,
    single_requests,
)
from edgegen.scenes.verdict import Verdict

RESULTS = Path(__file__).with_name("results")
MODELS = tuple(name for name in BUILTIN_MODELS if name.startswith("builtin:scenes"))
SEEDS = range(5)
READER, REFERENCE = "known pictures", "diffusers"
_AT_ONCE = 32
_ON_A_PAGE = 8
_EVERY_CAPTION = "plain, every caption, seeds 0 to 4"


Judged = tuple[Request, NDArray[np.uint8], Verdict]
"""What was asked for, (64, 64, 3) of what was drawn, and what of it is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Who drew, and the score of each split and group; `psnr_db` is against diffusers."""

    model: str
    drawn_by: str
    scores: Mapping[str, Score]
    psnr_db: float | None = None
    failure: str | None = None
    is_of_packages: bool = False
    """Whether it is a package's, or diffusers' for the scenes that packages draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything that a run found."""

    machine: Machine
    drawn: tuple[Drawn, ...] = ()


def main(arguments: Sequence[str]) -> int:
    """Score, print and write."""
    options = _parse(arguments)
    requests = [
        *sampled_requests(Split.TRAINED, options.of_each),
        *sampled_requests(Split.HELD_OUT, options.of_each),
    ]
    drawn: list[Drawn] = [_judged(READER, "the reader itself", requests, _known)[0]]
    machine = read_machine()
    earlier = _written(options.write)
    for model in options.models:
        for row in _model(model, requests, options):
            drawn.append(row)
            print(f"{row.model}, {row.drawn_by}: {row.failure or _summary(row)}", flush=True)
            _write(Found(machine=machine, drawn=_merged(earlier, drawn)), options.write)
    print(markdown(Found(machine=machine, drawn=tuple(drawn))))
    return 0


def _merged(earlier: Sequence[Drawn], drawn: Sequence[Drawn]) -> tuple[Drawn, ...]:
    """Return new rows and the earlier ones of other models, in the order of the models."""
    again = {row.model for row in drawn}
    rows = [*(row for row in earlier if row.model not in again), *drawn]
    order = [READER, *MODELS, *again]
    return tuple(sorted(rows, key=lambda row: order.index(row.model)))


def _model(model: str, requests: Sequence[Request], options: argparse.Namespace) -> Iterator[Drawn]:
    folder = resolve(model)
    generation = read_pipeline(folder).generation
    pipeline = DiffusionPipeline.from_pretrained(folder.path, dtype=torch.float32)
    yield _judged(model, "its autoencoder, of known pictures", requests, _rebuilt(pipeline))[0]
    draw = torch_drawer(pipeline, steps=generation.steps, guidance=generation.guidance)
    row, judged = _judged(model, REFERENCE, requests, draw)
    yield row
    if options.pictures:
        _draw_pages(model, judged, options.pictures)
    if options.every_caption:
        single = single_requests(SEEDS)
        verdicts = (
            (request, verdict) for request, _, verdict in judge_all(single, draw, batch=_AT_ONCE)
        )
        scores = {_EVERY_CAPTION: next(iter(score(verdicts).values()))}
        yield Drawn(model=model, drawn_by=REFERENCE, scores=scores)
    if options.packages:
        yield from _packages(model, _first(judged, options.of_each_package), options)


def _first(judged: Sequence[Judged], number: int) -> list[Judged]:
    """Return the first of each split and group."""
    chosen: dict[object, list[Judged]] = {}
    for item in judged:
        members = chosen.setdefault((item[0].split, group_of(item[0].scene)), [])
        members.extend([item] if len(members) < number else [])
    return [item for members in chosen.values() for item in members]


def _packages(
    model: str, reference: Sequence[Judged], options: argparse.Namespace
) -> Iterator[Drawn]:
    """Score diffusers' pictures that are given, and those of a package in each recipe."""
    scores = _scores(reference)
    yield Drawn(model=model, drawn_by=REFERENCE, scores=scores, is_of_packages=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        options.jobs, mp_context=context, initializer=_end_with_the_parent
    ) as pool:
        rows = [
            pool.submit(_package, model, target, recipe, reference)
            for target in options.targets
            for recipe in load_target(target).recipes
        ]
        for row in rows:
            yield row.result()


def _end_with_the_parent() -> None:
    """Let this process of a pool end when the one that started it does, even by a signal."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _package(model: str, target: str, recipe: str, reference: Sequence[Judged]) -> Drawn:
    name = f"{target} {recipe}"
    requests = [request for request, _, _ in reference]
    with tempfile.TemporaryDirectory(prefix="builtin-scores-") as work:
        package = Path(work, "package")
        try:
            build(
                plan(resolve(model), target=target, destination=package, recipe=recipe),
                parity=False,
            )
            draw = package_drawer(package, threads=1)
            judged = list(judge_all(requests, draw, batch=len(requests)))
        except EdgegenError as error:
            return Drawn(
                model=model, drawn_by=name, scores={}, failure=str(error), is_of_packages=True
            )
    expected, drawn = (np.stack([pixels for _, pixels, _ in it]) for it in (reference, judged))
    return Drawn(
        model=model,
        drawn_by=name,
        scores=_scores(judged),
        psnr_db=psnr_db(expected, drawn, peak=255.0),
        is_of_packages=True,
    )


def _judged(
    model: str, drawn_by: str, requests: Sequence[Request], draw: Draw
) -> tuple[Drawn, list[Judged]]:
    judged = list(judge_all(requests, draw, batch=_AT_ONCE))
    return Drawn(model=model, drawn_by=drawn_by, scores=_scores(judged)), judged


def _scores(judged: Sequence[Judged]) -> Mapping[str, Score]:
    scores = score((request, verdict) for request, _, verdict in judged)
    return {f"{split}, {group}": found for (split, group), found in scores.items()}


def _draw_pages(model: str, judged: Sequence[Judged], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = model.rstrip("/").rpartition("/")[2].removeprefix("builtin:")
    for split in dict.fromkeys(request.split for request, _, _ in judged):
        of_group: dict[str, list[Tile]] = {}
        for request, pixels, verdict in judged:
            tiles = of_group.setdefault(group_of(request.scene), [])
            if request.split is split and len(tiles) < _ON_A_PAGE:
                tiles.append(Tile(pixels, f"{request.caption}{_mistakes(verdict)}"))
        page = grid(
            [tile for tiles in of_group.values() for tile in tiles],
            columns=_ON_A_PAGE,
            least_width=2 * PICTURE_PX,
        )
        few_colours = Image.fromarray(page).quantize(256, dither=Image.Dither.NONE)
        few_colours.save(folder / f"{name}-{split}.png", optimize=True)


def _mistakes(verdict: Verdict) -> str:
    wrong = [name for name in _COLUMNS[:-1] if getattr(verdict, name) is False]
    return f" (wrong: {', '.join(wrong)})" if wrong else ""


def _known(requests: Sequence[Request]) -> NDArray[np.uint8]:
    return np.stack([render(request.scene) for request in requests])


def _rebuilt(pipeline: DiffusionPipeline) -> Draw:
    """Return a drawer of known pictures as a model's autoencoder gives them back."""

    @torch.no_grad()
    def draw(requests: Sequence[Request]) -> NDArray[np.uint8]:
        pictures = torch.from_numpy(_known(requests)).permute(0, 3, 1, 2).float() / 127.5 - 1
        encoded = pipeline.vae.encode(pictures)
        latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mean
        decoded = pipeline.vae.decode(latents).sample.permute(0, 2, 3, 1)
        return np.rint((decoded.clamp(-1, 1).numpy() + 1) * 127.5).astype(np.uint8)

    return draw


_COLUMNS = ("things", "count", "colour", "size", "placement", "all_right")


def _summary(row: Drawn) -> str:
    shares = ", ".join(f"{name} {found.all_right:.1%}" for name, found in row.scores.items())
    return shares if row.psnr_db is None else f"{row.psnr_db:.1f} dB, {shares}"


def markdown(found: Found) -> str:
    """Return the scores as a page of text: all of each model, and of packages what is right."""
    lines = ["# What the built-in models draw", "", f"{found.machine.describe()}.", ""]
    for row in (row for row in found.drawn if not row.is_of_packages):
        lines += [
            f"## {row.model}, {row.drawn_by}",
            "",
            "| scenes | pictures | things | count | colour | size | placement | all right |",
            "|---" * 8 + "|",
        ]
        for name, item in row.scores.items():
            cells = [_percent(getattr(item, column)) for column in _COLUMNS]
            lines.append(f"| {name} | {item.pictures} | {' | '.join(cells)} |")
        lines.append("")
    tables: list[list[Drawn]] = []
    for row in (row for row in found.drawn if row.is_of_packages):
        if row.drawn_by == REFERENCE:
            tables.append([])
        tables[-1].append(row)
    for rows in tables:
        lines += _package_table(rows)
    return "\n".join(lines) + "\n"


def _package_table(rows: Sequence[Drawn]) -> list[str]:
    """Return what packages made of the scenes that the first row's diffusers drew."""
    reference = rows[0].scores
    pictures = sum(item.pictures for item in reference.values())
    lines = [
        f"## {rows[0].model}: all right, package by package",
        "",
        f"{pictures} pictures. Placement and things are means over all scenes that ask for them;",
        "PSNR is that of all pictures together against diffusers'.",
        "",
        f"| package | PSNR, dB | {' | '.join(reference)} | placement | things |",
        "|---" * (4 + len(reference)) + "|",
    ]
    for row in rows:
        if row.failure is not None:
            lines.append(f"| {row.drawn_by} | {row.failure} |")
            continue
        distance = "" if row.psnr_db is None else f"{row.psnr_db:.1f}"
        cells = [_percent(row.scores[name].all_right) for name in reference]
        means = [_percent(_mean(row.scores, name)) for name in ("placement", "things")]
        lines.append(f"| {row.drawn_by} | {distance} | {' | '.join([*cells, *means])} |")
    return [*lines, ""]


def _mean(scores: Mapping[str, Score], name: str) -> float | None:
    """Return a mean over groups, weighted by their pictures; None where none asks for it."""
    asked = [item for item in scores.values() if getattr(item, name) is not None]
    pictures = sum(item.pictures for item in asked)
    if not asked:
        return None
    return sum(item.pictures * getattr(item, name) for item in asked) / pictures


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _written(name: str | None) -> tuple[Drawn, ...]:
    path = RESULTS / f"{name}.json"
    return load_json(Found, path).drawn if name is not None and path.exists() else ()


def _write(found: Found, name: str | None) -> None:
    if name is not None:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(dump_json(found), encoding="utf-8")
        (RESULTS / f"{name}.md").write_text(markdown(found), encoding="utf-8")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS, help="models, or folders")
    parser.add_argument("--of-each", type=int, default=60, help="scenes of each group and split")
    parser.add_argument("--every-caption", action="store_true")
    parser.add_argument("--packages", action="store_true", help="every recipe of the targets, too")
    parser.add_argument("--of-each-package", type=int, default=15, help="as many of them at most")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="packages at a time")
    parser.add_argument("--targets", nargs="+", default=target_names(), choices=target_names())
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="pages of what is drawn")
    parser.add_argument("--write", metavar="NAME", help="to benchmarks/results/NAME.json and .md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
