"""What `compression_frontier.py` keeps: a package's size and its pictures; tables of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.machine import Machine
from edgegen.compress.codecs import CODECS
from edgegen.core.codec import dump_json
from edgegen.core.model import Component
from edgegen.core.recipe import Recipe, Tolerance
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target, target_names

SAME_SIZE = 0.05
"""Recipes whose packages differ by less share one mix, of the size of the smallest."""

FEW_BITS = 8

_NO_TOLERANCE = Tolerance(component_psnr_db=0, trajectory_psnr_db=0, image_psnr_db=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A package without a golden case, and its pictures beside diffusers'.

    `mix_of` is the uniform recipe whose size a mix has; None is a uniform recipe. `stored` is a
    hash of what the recipe does to weights, `asked` of the captions and seeds. `psnr_db` is that of
    all pictures together, `flip` the mean, `right` how many show all that was asked for. Where
    `in_torch`, torch drew with the weights as they are restored, and the size is predicted.
    """

    model: str
    target: str
    recipe: str
    mix_of: str | None = None
    stored: str
    asked: str
    pictures: int
    size_bytes: int = 0
    right: int = 0
    psnr_db: float = 0.0
    flip: float = 0.0
    bits: float | None = None
    in_torch: bool = False
    failure: str | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what a later row of the same replaces."""
        return self.model, self.target, self.mix_of or f"uniform {self.recipe}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """How many of diffusers' own pictures are right."""

    model: str
    asked: str
    pictures: int
    right: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """Everything that runs found, and the machine of the last one."""

    machine: Machine
    references: tuple[Reference, ...] = ()
    placed: tuple[Placed, ...] = ()

    def with_reference(self, reference: Reference) -> Frontier:
        """Return it with a model's own pictures; rows about other pictures of it go."""
        return replace(
            self,
            references=(
                *(it for it in self.references if it.model != reference.model),
                reference,
            ),
            placed=tuple(
                it
                for it in self.placed
                if it.model != reference.model or it.asked == reference.asked
            ),
        )

    def with_row(self, row: Placed) -> Frontier:
        """Return it with a row added, or in the place of the one that it repeats."""
        return replace(self, placed=(*(it for it in self.placed if it.key != row.key), row))

    def has(self, row: Placed) -> bool:
        """Return whether the same package was drawn, of the same pictures."""
        return any(
            (it.key, it.stored, it.asked) == (row.key, row.stored, row.asked) for it in self.placed
        )

    def of(self, model: str, target: str) -> list[Placed]:
        """Return the rows of a model and a target, the smallest first."""
        rows = [it for it in self.placed if (it.model, it.target) == (model, target)]
        return sorted(rows, key=lambda it: it.size_bytes)


def stored_digest(
    recipe: Recipe, components: Iterable[Component] = (), *, in_torch: bool = False
) -> str:
    """Return a hash of what a recipe does, whatever it is called and promises.

    The layers that networks declare count where the recipe speaks of them: sensitive ones, and
    those that compute in float32 where a package computes; where it draws `in_torch`, all do.
    """
    bare = replace(recipe, name="", description="", tolerance=_NO_TOLERANCE, quality=None)
    said = [dump_json(bare)]
    for component in components:
        if recipe.sensitive_storage is not None:
            said.append(f"{component.name} sensitive {component.sensitive_layers}")
        if "float16" in recipe.compute_types and not in_torch:
            said.append(f"{component.name} float32 {component.float32_layers}")
    return hashlib.sha256("".join(said).encode()).hexdigest()[:16]


def sizes_to_match(rows: Sequence[Placed]) -> list[Placed]:
    """Return the uniform rows whose sizes mixes are made for: of about the same size, one."""
    found: list[Placed] = []
    for row in sorted(rows, key=lambda it: it.size_bytes):
        if not found or row.size_bytes > found[-1].size_bytes * (1 + SAME_SIZE):
            found.append(row)
    return found


def beaten(rows: Sequence[Placed]) -> Iterator[tuple[Placed, Placed, str]]:
    """Yield each uniform row of few bits, a mix that isn't larger, and in what the mix is worse.

    Of a uniform row that is the best such mix by FLIP; without one there is nothing to yield. No
    mix is made for the size of a recipe of 16 bits and more.
    """
    drawn = [it for it in rows if it.failure is None]
    for row in (it for it in drawn if it.mix_of is None and not _is_wide(it)):
        mixes = [it for it in drawn if it.mix_of is not None and it.size_bytes <= row.size_bytes]
        if mixes:
            mix = min(mixes, key=lambda it: it.flip)
            worse = [
                name
                for name, is_worse in (
                    ("PSNR", mix.psnr_db < row.psnr_db),
                    ("FLIP", mix.flip > row.flip),
                    ("right", mix.right < row.right),
                )
                if is_worse
            ]
            yield row, mix, ", ".join(worse)


def markdown(found: Frontier) -> str:
    """Return a table for each model and target, the largest package first."""
    lines = ["# Size against pictures", "", f"{found.machine.name()}.", ""]
    lines += [
        "Each package without its golden case, drawn by edgegen's runner; those with a star by",
        "torch, with the weights as the package restores them, and their size is predicted. PSNR",
        "is that of all pictures together against diffusers', FLIP the mean. A mix is made for the",
        "size of the recipe that it names, and is up to 1 % smaller.",
        "",
    ]
    for reference in found.references:
        name = reference.model.removeprefix("builtin:")
        lines += [
            f"## {name}: {reference.pictures} pictures, {reference.right} of diffusers' are right",
            "",
            "| package | MB | bits | PSNR, dB | FLIP | right |",
            "|---|---|---|---|---|---|",
        ]
        for target in target_names():
            lines += [_line(it) for it in reversed(found.of(reference.model, target))]
        lines.append("")
    return "\n".join(lines)


def pairs_table(found: Frontier) -> str:
    """Return the table of docs/guides/compressing.md: recipes of few bits beside mixes."""
    lines = [
        "| model | package | MB | FLIP | right | mix, MB | FLIP | right |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for reference in found.references:
        name = f"`{reference.model.removeprefix('builtin:')}`"
        for target in target_names():
            for uniform, mix, _ in beaten(found.of(reference.model, target)):
                cells = [_figures(it) for it in (uniform, mix)]
                lines.append(f"| {name} | {target} {uniform.recipe} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _is_wide(row: Placed) -> bool:
    """Return whether a uniform row stores weights in 16 bits or more."""
    storage = load_recipe(row.recipe, load_target(row.target)).storage
    return CODECS[storage].bits > FEW_BITS


def _figures(row: Placed) -> str:
    return f"{row.size_bytes / 1e6:.2f} | {row.flip:.4f} | {row.right} of {row.pictures}"


def _line(row: Placed) -> str:
    name = f"{row.target} {row.recipe}"
    if row.mix_of is not None:
        name = f"{row.target} *mix, size of {row.mix_of}*"
    if row.in_torch:
        name += " \\*"
    if row.failure is not None:
        return f"| {name} | {row.failure} | | | | |"
    bits = "" if row.bits is None else f"{row.bits:.2f}"
    return (
        f"| {name} | {row.size_bytes / 1e6:.2f} | {bits} | {row.psnr_db:.1f} | {row.flip:.4f} | "
        f"{row.right} |"
    )


def ordered(found: Frontier, models: Iterable[str]) -> Frontier:
    """Return it with its rows by model, target and recipe, mixes behind the uniform ones."""
    names = [*models, *(it.model for it in found.placed)]
    targets = target_names()

    def place(row: Placed) -> tuple[int, int, bool, int, str]:
        recipes = load_target(row.target).recipes
        name = row.mix_of or row.recipe
        at = recipes.index(name) if name in recipes else len(recipes)
        return names.index(row.model), targets.index(row.target), row.mix_of is not None, at, name

    return replace(
        found,
        references=tuple(sorted(found.references, key=lambda it: names.index(it.model))),
        placed=tuple(sorted(found.placed, key=place)),
    )
