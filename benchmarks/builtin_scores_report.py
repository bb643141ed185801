"""What `builtin_scores.py` keeps of each run, how runs are put together, and how they are told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from benchmarks.compression_frontier_report import Frontier, Placed
from benchmarks.machine import Machine
from edgegen.builtin.models import BUILTIN_MODELS
from edgegen.core.files import sha256_of
from edgegen.core.targets import load_target, target_names
from edgegen.scenes.scores import Request, Score

MODELS = tuple(name for name in BUILTIN_MODELS if name.startswith("builtin:scenes"))
READER, REFERENCE = "known pictures", "diffusers"
COLUMNS = ("things", "count", "colour", "size", "placement", "all_right")

Which = Literal["sampled", "every caption", "placed anew", "of packages"]
"""The requests that a row is about: so many of each kind, every caption of single things, places
that no trained picture shows, and those that packages draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Who drew what, where, and the score of each split and group; PSNR is against diffusers."""

    model: str
    drawn_by: str
    requests: Which
    asked: str
    """A hash of the captions and seeds."""
    machine: Machine
    scores: Mapping[str, Score]
    psnr_db: float | None = None
    failure: str | None = None

    @property
    def pictures(self) -> int:
        """Return how many pictures were judged."""
        return sum(item.pictures for item in self.scores.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything that runs found, and of each model the SHA-256 of the weights that drew it."""

    weights: Mapping[str, str] = field(default_factory=dict)
    drawn: tuple[Drawn, ...] = ()


def merged(found: Found, row: Drawn, weights: str | None) -> Found:
    """Return what was found with a row added, or in the place of the one that it repeats.

    What other `weights` (`weights_digest`) drew of its model goes, and what packages drew of other
    pictures. Rows are ordered by model, requests and package.
    """
    kept = [it for it in found.drawn if not _is_replaced(it, row)]
    digests = dict(found.weights)
    if weights is not None:
        if digests.get(row.model, weights) != weights:
            kept = [it for it in kept if it.model != row.model]
        digests[row.model] = weights
    models = list(dict.fromkeys((READER, *MODELS, *(it.model for it in (*kept, row)))))
    drawers = (REFERENCE, *package_names())

    def place(it: Drawn) -> tuple[int, int, int]:
        drawer = drawers.index(it.drawn_by) if it.drawn_by in drawers else -1
        return models.index(it.model), get_args(Which).index(it.requests), drawer

    return Found(weights=digests, drawn=tuple(sorted((*kept, row), key=place)))


def _is_replaced(old: Drawn, new: Drawn) -> bool:
    if (old.model, old.requests) != (new.model, new.requests):
        return False
    return old.drawn_by == new.drawn_by or (
        new.requests == "of packages" and old.asked != new.asked
    )


def asked(requests: Iterable[Request]) -> str:
    """Return a hash of the captions and seeds of requests, in their order."""
    lines = "".join(f"{it.seed} {it.caption}\n" for it in requests)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def weights_digest(folder: Path) -> str:
    """Return the SHA-256 of a model's weights: of the hashes and names of its files of tensors."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(f"{sha256_of(path)} {path.relative_to(folder).as_posix()}\n".encode())
    return digest.hexdigest()


def package_names() -> list[str]:
    return [
        package_name(target, recipe)
        for target in target_names()
        for recipe in load_target(target).recipes
    ]


def package_name(target: str, recipe: str) -> str:
    return f"{target} {recipe}"


def markdown(found: Found) -> str:
    """Return the scores as a page of text: all of each model, and of packages what is right."""
    machines = dict.fromkeys(row.machine.name() for row in found.drawn)
    lines = ["# What the built-in models draw", "", *(f"{it}.  " for it in machines), ""]
    for row in (row for row in found.drawn if row.requests != "of packages"):
        lines += [
            f"## {row.model}, {row.drawn_by}",
            "",
            "| scenes | pictures | things | count | colour | size | placement | all right |",
            "|---" * 8 + "|",
        ]
        for name, item in row.scores.items():
            cells = [_percent(getattr(item, column)) for column in COLUMNS]
            lines.append(f"| {name} | {item.pictures} | {' | '.join(cells)} |")
        lines.append("")
    for model in dict.fromkeys(row.model for row in found.drawn):
        rows = [row for row in found.drawn if row.model == model and row.requests == "of packages"]
        lines += _package_table(rows) if rows else []
    return "\n".join(lines) + "\n"


def recipes_table(found: Found, frontier: Frontier | None = None) -> str:
    """Return the table of docs/concepts/models.md: PSNR and right pictures, model by model.

    What runs here have not drawn is taken from a frontier, whose pictures are fewer.
    """
    of_packages = {
        (row.model, row.drawn_by): row for row in found.drawn if row.requests == "of packages"
    }
    placed = () if frontier is None else frontier.placed
    elsewhere = {
        (row.model, package_name(row.target, row.recipe)): row
        for row in placed
        if row.mix_of is None and row.failure is None
    }
    names = " | ".join(f"`{model.removeprefix('builtin:')}`" for model in MODELS)
    lines = [f"| package | {names} |", "|---" * (1 + len(MODELS)) + "|"]
    for drawer in (REFERENCE, *package_names()):
        keys = [(model, drawer) for model in MODELS]
        cells = [_recipe_cell(of_packages.get(it), elsewhere.get(it)) for it in keys]
        name = "*diffusers, float32*" if drawer == REFERENCE else drawer
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _recipe_cell(row: Drawn | None, elsewhere: Placed | None) -> str:
    if row is None or row.failure is not None:
        if elsewhere is None:
            return "not drawn"
        return f"{elsewhere.psnr_db:.1f} dB · {elsewhere.right} of {elsewhere.pictures}"
    right = round(sum(item.pictures * item.all_right for item in row.scores.values()))
    if row.psnr_db is None:
        return f"*{right} of {row.pictures}*"
    return f"{row.psnr_db:.1f} dB · {right}"


def _package_table(rows: Sequence[Drawn]) -> list[str]:
    """Return what packages made of the scenes that the first row's diffusers drew."""
    reference = rows[0].scores
    lines = [
        f"## {rows[0].model}: all right, package by package",
        "",
        f"{rows[0].pictures} pictures. Placement and things are means over all scenes that ask for",
        "them; PSNR is that of all pictures together against diffusers'.",
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
    judged = [item for item in scores.values() if getattr(item, name) is not None]
    if not judged:
        return None
    pictures = sum(item.pictures for item in judged)
    return sum(item.pictures * getattr(item, name) for item in judged) / pictures


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
