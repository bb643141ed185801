"""Places every recipe and the mixes of their sizes: bytes against pictures.

    python benchmarks/compression_frontier.py [--models …] [--targets …] [--of-each N]
        [--recipes …] [--no-mixes] [--write NAME]

The scenes of `builtin_scores.py --packages` are drawn from a package in each recipe of each target,
and from a mix for the size of each recipe that stores weights in 8 bits or fewer. Kept are the size
of the package, how many pictures are right, and PSNR and FLIP of the pictures beside diffusers'.
Where a package computes with floats, torch draws, with the weights as the codecs restore them: that
takes a tenth of the time of building each package and drawing with it. Packages draw where
activations have few bits, or weights 16 and more. `--ways torch` leaves these for later.
`--write NAME` adds to `results/NAME.json` and `.md` and draws what is missing there: a run that was
interrupted goes on where it stopped, and a recipe that has changed, or the layers that it makes an
exception for, is drawn again. The plots are
`docs/images/NAME-right.svg` and `NAME-flip.svg`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from edgegen_runner.metrics import psnr_db

from benchmarks.builtin_scores_report import MODELS, asked
from benchmarks.compression_frontier_plot import FIGURES, plot
from benchmarks.compression_frontier_report import (
    FEW_BITS,
    Frontier,
    Placed,
    Reference,
    beaten,
    markdown,
    ordered,
    sizes_to_match,
    stored_digest,
)
from benchmarks.machine import read_machine
from benchmarks.restored_weights import RestoredWeights
from edgegen.compress.codecs import CODECS
from edgegen.core.codec import dump_json, load_json
from edgegen.core.errors import ConfigError, EdgegenError
from edgegen.core.evaluation import EQUAL_DB
from edgegen.core.files import write_atomic
from edgegen.core.progress import SilentProgress
from edgegen.core.recipe import Recipe
from edgegen.core.recipes import load_recipe
from edgegen.core.target import TargetSpec
from edgegen.core.targets import load_target, target_names
from edgegen.drawer import Drawer
from edgegen.evaluate.metrics import METRICS
from edgegen.models.source import resolve
from edgegen.packaging.batch import Built, build_all
from edgegen.packaging.candidate import make_candidate, predict
from edgegen.packaging.mixed import MixedSize, make_mixed, named_as, sensitivity_of
from edgegen.packaging.model_facts import ModelFacts, read_facts
from edgegen.packaging.plan import plan_package
from edgegen.runner.backend_choice import Wishes
from edgegen.runner.drawers import PackageDrawer
from edgegen.scenes.combinations import Split
from edgegen.scenes.scores import Judged, Request, group_of, judge_all, sampled_requests

ROOT = Path(__file__).resolve().parents[1]
RESULTS, IMAGES = ROOT / "benchmarks/results", ROOT / "docs/images"
OF_EACH = {"builtin:scenes": 1, "builtin:scenes-4step": 3}
"""Scenes of each group and split of a model, unless `--of-each` says."""
_USUALLY = 5
WAYS = ("torch", "package")
_SAMPLED = 60  # of each group and split in builtin_scores.py: these scenes are the first of those
_AT_ONCE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model, and what diffusers drew of it."""

    model: str
    facts: ModelFacts
    judged: tuple[Judged, ...]
    torch: RestoredWeights

    @property
    def requests(self) -> list[Request]:
        """Return what was asked for."""
        return [request for request, _, _ in self.judged]

    @property
    def reference(self) -> Reference:
        """Return what is kept of diffusers' pictures."""
        return Reference(
            model=self.model,
            asked=asked(self.requests),
            pictures=len(self.judged),
            right=sum(verdict.all_right for _, _, verdict in self.judged),
        )

    def row(self, target: TargetSpec, recipe: Recipe) -> Placed:
        """Return a row of a package that hasn't been drawn yet, with its predicted size."""
        size = predict(make_candidate(self.facts, target, recipe), self.facts)
        return Placed(
            model=self.model,
            target=target.name,
            recipe=recipe.name,
            stored=stored_digest(recipe, self.facts.spec.components, in_torch=is_for_torch(recipe)),
            asked=asked(self.requests),
            pictures=len(self.judged),
            size_bytes=size.package_bytes - size.golden_bytes,
        )


def main(arguments: Sequence[str]) -> int:
    """Draw what is missing, print and write."""
    options = _parse(arguments)
    found = replace(_written(options.write), machine=read_machine())
    for model in options.models:
        of_each = options.of_each or OF_EACH.get(model, _USUALLY)
        subject = subject_of(model, of_each)
        found = found.with_reference(subject.reference)
        missing = [pair for pair in wanted_of(subject, options) if not found.has(pair[0])]
        for way in options.ways:
            of_way = [pair for pair in missing if is_for_torch(pair[1]) == (way == "torch")]
            for row in (_in_torch if way == "torch" else _from_packages)(subject, of_way):
                _tell(row)
                found = _kept(found.with_row(row), options.write)
    found = _kept(ordered(found, MODELS), options.write)
    print(markdown(found))
    for reference in found.references:
        for target in target_names():
            for uniform, mix, worse in beaten(found.of(reference.model, target)):
                if worse:
                    print(f"{reference.model} {target} {uniform.recipe}: {mix.recipe} has {worse}")
    return 0


def subject_of(model: str, of_each: int) -> Subject:
    """Return a model with the first scenes of each group and split, drawn by diffusers."""
    facts = read_facts(resolve(model, progress=SilentProgress()))
    torch = RestoredWeights(facts)
    requests = [
        *_first(sampled_requests(Split.TRAINED, _SAMPLED), of_each),
        *_first(sampled_requests(Split.HELD_OUT, _SAMPLED), of_each),
    ]
    judged = tuple(judge_all(requests, torch, batch=_AT_ONCE))
    return Subject(model=model, facts=facts, judged=judged, torch=torch)


def _first(requests: Sequence[Request], number: int) -> list[Request]:
    """Return the first of each group."""
    chosen: dict[str, list[Request]] = {}
    for request in requests:
        members = chosen.setdefault(group_of(request.scene), [])
        members.extend([request] if len(members) < number else [])
    return [request for members in chosen.values() for request in members]


def wanted_of(subject: Subject, options: argparse.Namespace) -> Iterator[tuple[Placed, Recipe]]:
    """Yield a row that isn't drawn yet and its recipe: uniform ones, then mixes of their sizes."""
    targets = [load_target(name) for name in options.targets]
    uniform = [
        (target, recipe)
        for target in targets
        for recipe in (load_recipe(name, target) for name in target.recipes)
        if options.recipes is None or recipe.name in options.recipes
    ]
    for target, recipe in uniform:
        yield subject.row(target, recipe), recipe
    if options.no_mixes:
        return
    table = sensitivity_of(subject.facts, SilentProgress())
    facts = named_as(subject.facts, table)
    for target in targets:
        few = [it for of, it in uniform if of is target and _has_few_bits(it)]
        for row in sizes_to_match([subject.row(target, it) for it in few]):
            kilobytes = (row.size_bytes + _golden_bytes(facts, target)) // 1000
            size = MixedSize(name=f"mixed-{kilobytes}kB", package_bytes=kilobytes * 1000)
            try:
                mixed = make_mixed(facts, target, size, table)
            except ConfigError:  # the recipe is the smallest that there is
                continue
            made = replace(subject, facts=facts).row(target, mixed.recipe)
            yield replace(made, mix_of=row.recipe, bits=mixed.weights_bits), mixed.recipe


def _has_few_bits(recipe: Recipe) -> bool:
    return bool(recipe.assigned) or CODECS[recipe.storage].bits <= FEW_BITS


def _golden_bytes(facts: ModelFacts, target: TargetSpec) -> int:
    base = load_recipe(target.default_recipe, target)
    return predict(make_candidate(facts, target, base), facts).golden_bytes


def is_for_torch(recipe: Recipe) -> bool:
    """Return whether a package computes what torch does with the weights that codecs restore."""
    return _has_few_bits(recipe) and recipe.activation_types == {"float"}


def _in_torch(subject: Subject, wanted: Sequence[tuple[Placed, Recipe]]) -> Iterator[Placed]:
    """Draw with the weights that codecs restore; the size is the one that is predicted."""
    for row, recipe in wanted:
        subject.torch.store(recipe, load_target(row.target))
        yield _judged(subject, replace(row, in_torch=True), subject.torch, _AT_ONCE)


def _from_packages(subject: Subject, wanted: Sequence[tuple[Placed, Recipe]]) -> Iterator[Placed]:
    """Build packages together, draw with one after the other, and weigh each."""
    if not wanted:
        return
    table = sensitivity_of(subject.facts, SilentProgress())
    facts = named_as(subject.facts, table)
    with tempfile.TemporaryDirectory(prefix="compression-frontier-") as work:
        plans = [
            plan_package(
                facts,
                target=row.target,
                destination=Path(work, str(number), "package"),
                recipe=recipe,
            )
            for number, (row, recipe) in enumerate(wanted)
        ]
        built = build_all(plans, parity=False).packages
        for (row, _), outcome in zip(wanted, built, strict=True):
            try:
                if not isinstance(outcome, Built):
                    raise outcome
                drawer = PackageDrawer(outcome.path, wishes=Wishes(threads=1))
                files = [it for it in outcome.path.rglob("*") if it.is_file()]
                weighed = replace(row, size_bytes=sum(it.stat().st_size for it in files))
                yield _judged(subject, weighed, drawer, len(subject.judged))
                shutil.rmtree(outcome.path)
            except EdgegenError as error:
                yield replace(row, failure=error.message)


def _tell(row: Placed) -> None:
    figures = (
        f"{row.size_bytes / 1e6:.2f} MB, {row.psnr_db:.1f} dB, FLIP {row.flip:.4f}, "
        f"{row.right} of {row.pictures} right"
    )
    print(f"{row.model} {row.target} {row.recipe}: {row.failure or figures}", flush=True)


def _judged(subject: Subject, row: Placed, drawer: Drawer, batch: int) -> Placed:
    drawn = list(judge_all(subject.requests, drawer, batch=batch))
    pairs = [
        (mine, theirs) for (_, mine, _), (_, theirs, _) in zip(subject.judged, drawn, strict=True)
    ]
    flips = [METRICS["flip"].compute(*pair) for pair in pairs]
    expected, pictures = (np.stack(side) for side in zip(*pairs, strict=True))
    return replace(
        row,
        right=sum(verdict.all_right for _, _, verdict in drawn),
        psnr_db=min(psnr_db(expected, pictures, peak=255.0), EQUAL_DB),
        flip=float(np.mean([it for it in flips if it is not None])),
    )


def _written(name: str | None) -> Frontier:
    path = RESULTS / f"{name}.json"
    if name is not None and path.exists():
        return load_json(Frontier, path)
    return Frontier(machine=read_machine())


def _kept(found: Frontier, name: str | None) -> Frontier:
    if name is not None:
        found = ordered(found, MODELS)
        write_atomic(RESULTS / f"{name}.json", dump_json(found).encode())
        write_atomic(RESULTS / f"{name}.md", markdown(found).encode())
        for figure in FIGURES:
            write_atomic(IMAGES / f"{name}-{figure}.svg", plot(found, figure).encode())
    return found


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="*", default=MODELS, help="none: only tables and plots")
    parser.add_argument("--targets", nargs="+", default=target_names(), choices=target_names())
    parser.add_argument("--recipes", nargs="+", help="default: all of a target")
    parser.add_argument("--no-mixes", action="store_true")
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS, help="who draws")
    parser.add_argument("--of-each", type=int, help="scenes of each group and split")
    parser.add_argument("--write", metavar="NAME", help="to benchmarks/results/NAME.json and .md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
