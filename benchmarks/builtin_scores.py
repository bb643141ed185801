"""What the built-in models draw of what captions ask for, and what each recipe costs of it.

    python benchmarks/builtin_scores.py [--models …] [--of-each N] [--every-caption]
    python benchmarks/builtin_scores.py --packages [--targets …] [--of-each-package N]

Every model is drawn with diffusers at its own steps and guidance: N scenes of each group of the
seen and of the held-out combinations, and the held-out places that no trained picture shows in
company either. `--every-caption` draws, besides, every caption of every
single thing with each seed (the model card's figure). `--packages` draws the first of the same
scenes from a package in each recipe, with edgegen's runner on this machine, and gives beside each
score the PSNR of its pictures against diffusers'. `--pictures FOLDER` puts the first scenes of each
group on one page for each model and split, with what is wrong in each. `--write NAME` adds to what
earlier runs have written there, and replaces what they have of the same.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from diffusers import DiffusionPipeline
from edgegen_runner.metrics import psnr_db
from PIL import Image

from benchmarks.builtin_scores_report import (
    COLUMNS,
    MODELS,
    READER,
    REFERENCE,
    Drawn,
    Found,
    Which,
    asked,
    markdown,
    merged,
    package_name,
    weights_digest,
)
from benchmarks.machine import Machine, read_machine
from edgegen.core.codec import dump_json, load_json
from edgegen.core.errors import EdgegenError
from edgegen.core.files import write_atomic
from edgegen.core.targets import load_target, target_names
from edgegen.drawer import Pixels
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from edgegen.reference.drawer import TorchDrawer
from edgegen.report.pictures import Tile, grid
from edgegen.runner.backend_choice import Wishes
from edgegen.runner.drawers import PackageDrawer
from edgegen.scenes.combinations import Split
from edgegen.scenes.render import render
from edgegen.scenes.scene import PICTURE_PX
from edgegen.scenes.scores import (
    SEEDS,
    Judged,
    Request,
    Score,
    group_of,
    judge_all,
    judge_each,
    placed_anew_requests,
    sampled_requests,
    score,
    single_requests,
)
from edgegen.scenes.verdict import Verdict

RESULTS = Path(__file__).with_name("results")
_AT_ONCE = 32
_ON_A_PAGE = 8
_EVERY_CAPTION = f"plain, every caption, seeds {SEEDS[0]} to {SEEDS[-1]}"
_PLACED_ANEW = "held-out, place that no trained picture shows, in company either"


def main(arguments: Sequence[str]) -> int:
    """Score, print and write."""
    options = _parse(arguments)
    machine = read_machine()
    requests = [
        *sampled_requests(Split.TRAINED, options.of_each),
        *sampled_requests(Split.HELD_OUT, options.of_each),
    ]
    weights = {model: weights_digest(resolve(model).path) for model in options.models}
    found = _written(options.write)
    for row in _rows(options.models, requests, machine, options):
        print(f"{row.model}, {row.drawn_by}: {row.failure or _summary(row)}", flush=True)
        found = merged(found, row, weights.get(row.model))
        _write(found, options.write)
    print(markdown(found))
    return 0


def _rows(
    models: Sequence[str],
    requests: Sequence[Request],
    machine: Machine,
    options: argparse.Namespace,
) -> Iterator[Drawn]:
    known = judge_each(requests, (render(request.scene) for request in requests))
    yield _row(READER, "the reader itself", machine, requests, list(known))
    for model in models:
        yield from _model(model, requests, machine, options)


def _model(
    model: str, requests: Sequence[Request], machine: Machine, options: argparse.Namespace
) -> Iterator[Drawn]:
    folder = resolve(model)
    spec = read_pipeline(folder)
    pipeline = DiffusionPipeline.from_pretrained(folder.path, dtype=torch.float32)
    known = "its autoencoder, of known pictures"
    rebuilt = list(judge_each(requests, _rebuilt(pipeline, requests)))
    yield _row(model, known, machine, requests, rebuilt)
    drawer = TorchDrawer(pipeline, spec.family, spec.generation)
    judged = list(judge_all(requests, drawer, batch=_AT_ONCE))
    yield _row(model, REFERENCE, machine, requests, judged)
    if options.pictures:
        _draw_pages(model, judged, options.pictures)
    others: dict[Which, tuple[str, Callable[[], list[Request]]]]
    others = {"placed anew": (_PLACED_ANEW, placed_anew_requests)}
    if options.every_caption:
        others["every caption"] = (_EVERY_CAPTION, single_requests)
    for which, (name, wanted) in others.items():
        these = wanted()
        verdicts = ((it, verdict) for it, _, verdict in judge_all(these, drawer, batch=_AT_ONCE))
        yield Drawn(
            model=model,
            drawn_by=REFERENCE,
            requests=which,
            asked=asked(these),
            machine=machine,
            scores={name: next(iter(score(verdicts).values()))},
        )
    if options.packages:
        yield from _packages(model, _first(judged, options.of_each_package), machine, options)


def _first(judged: Sequence[Judged], number: int) -> list[Judged]:
    """Return the first of each split and group."""
    chosen: dict[object, list[Judged]] = {}
    for item in judged:
        members = chosen.setdefault((item[0].split, group_of(item[0].scene)), [])
        members.extend([item] if len(members) < number else [])
    return [item for members in chosen.values() for item in members]


def _packages(
    model: str, reference: Sequence[Judged], machine: Machine, options: argparse.Namespace
) -> Iterator[Drawn]:
    """Score diffusers' pictures that are given, and those of a package in each recipe."""
    yield Drawn(
        model=model,
        drawn_by=REFERENCE,
        requests="of packages",
        asked=asked(request for request, _, _ in reference),
        machine=machine,
        scores=_scores(reference),
    )
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        options.jobs, mp_context=context, initializer=_end_with_the_parent
    ) as pool:
        rows = [
            pool.submit(_package, model, target, recipe, machine, reference)
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


def _package(
    model: str, target: str, recipe: str, machine: Machine, reference: Sequence[Judged]
) -> Drawn:
    requests = [request for request, _, _ in reference]
    row = Drawn(
        model=model,
        drawn_by=package_name(target, recipe),
        requests="of packages",
        asked=asked(requests),
        machine=machine,
        scores={},
    )
    with tempfile.TemporaryDirectory(prefix="builtin-scores-") as work:
        package = Path(work, "package")
        try:
            build(
                plan(resolve(model), target=target, destination=package, recipe=recipe),
                parity=False,
            )
            drawer = PackageDrawer(package, wishes=Wishes(threads=1))
            judged = list(judge_all(requests, drawer, batch=len(requests)))
        except EdgegenError as error:
            return replace(row, failure=str(error))
    expected, drawn = (np.stack([pixels for _, pixels, _ in it]) for it in (reference, judged))
    return replace(row, scores=_scores(judged), psnr_db=psnr_db(expected, drawn, peak=255.0))


def _row(
    model: str,
    drawn_by: str,
    machine: Machine,
    requests: Sequence[Request],
    judged: Sequence[Judged],
) -> Drawn:
    return Drawn(
        model=model,
        drawn_by=drawn_by,
        requests="sampled",
        asked=asked(requests),
        machine=machine,
        scores=_scores(judged),
    )


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
    wrong = [name for name in COLUMNS[:-1] if getattr(verdict, name) is False]
    return f" (wrong: {', '.join(wrong)})" if wrong else ""


@torch.no_grad()
def _rebuilt(pipeline: DiffusionPipeline, requests: Sequence[Request]) -> Iterator[Pixels]:
    """Yield known pictures as a model's autoencoder gives them back."""
    for start in range(0, len(requests), _AT_ONCE):
        known = np.stack([render(it.scene) for it in requests[start : start + _AT_ONCE]])
        pictures = torch.from_numpy(known).permute(0, 3, 1, 2).float() / 127.5 - 1
        encoded = pipeline.vae.encode(pictures)
        latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mean
        decoded = pipeline.vae.decode(latents).sample.permute(0, 2, 3, 1)
        yield from np.rint((decoded.clamp(-1, 1).numpy() + 1) * 127.5).astype(np.uint8)


def _summary(row: Drawn) -> str:
    shares = ", ".join(f"{name} {found.all_right:.1%}" for name, found in row.scores.items())
    return shares if row.psnr_db is None else f"{row.psnr_db:.1f} dB, {shares}"


def _written(name: str | None) -> Found:
    path = RESULTS / f"{name}.json"
    return load_json(Found, path) if name is not None and path.exists() else Found()


def _write(found: Found, name: str | None) -> None:
    if name is not None:
        RESULTS.mkdir(exist_ok=True)
        write_atomic(RESULTS / f"{name}.json", dump_json(found).encode())
        write_atomic(RESULTS / f"{name}.md", markdown(found).encode())


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
