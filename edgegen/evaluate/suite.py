"""Suites: the prompts that a package's quality is found with, one TOML file each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from edgegen.core.codec import load_toml
from edgegen.core.errors import ConfigError
from edgegen.core.named import is_path, load_named, names_in
from edgegen.scenes.combinations import Split
from edgegen.scenes.scene import Scene
from edgegen.scenes.scores import GROUPS, group_of, sampled_requests

FOLDER = Path(__file__).with_name("suites")
KNOWN = "known"
"""The suite of what a model knows; limits of quality are about its pictures."""
DEFAULT = (KNOWN, "stress")

_MOST_SCENES = 200
_PART = ": "


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Prompts of one kind."""

    kind: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneChoice:
    """So many scenes of each group and split of `edgegen.scenes`, always the same."""

    of_each: int
    splits: tuple[Literal["trained", "held-out"], ...] = ("trained", "held-out")

    def __post_init__(self) -> None:
        if not 1 <= self.of_each <= _MOST_SCENES:
            raise ValueError(f"of_each is {self.of_each}; give 1 to {_MOST_SCENES}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A suite. For `models` (shell-style patterns) it takes the place of `instead_of`."""

    name: str
    description: str
    instead_of: str | None = None
    models: tuple[str, ...] = ("*",)
    prompts: tuple[Prompts, ...] = ()
    scenes: SceneChoice | None = None

    def __post_init__(self) -> None:
        if self.scenes is None and not any(each.texts for each in self.prompts):
            raise ValueError("it has neither prompts nor scenes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt of a suite, None for a model without text, and what its picture should show."""

    suite: str
    kind: str
    prompt: str | None
    seed: int
    scene: Scene | None = None


def suite_names() -> tuple[str, ...]:
    """Return the names of the suites that ship."""
    return names_in(FOLDER)


def load_suite(name_or_path: str, model: str) -> Suite:
    """Read a suite by its name, or a file by its path; `model` is what the user calls the model.

    A suite that stands in for another one, for this model, is returned under the other's name.
    Raises ConfigError for an unknown name, and a file that isn't a suite.
    """
    suite = load_named(Suite, name_or_path, FOLDER, kind="suite", known=suite_names())
    if is_path(name_or_path):
        return suite
    for path in sorted(FOLDER.glob("*.toml")):
        other = load_toml(Suite, path)
        if other.instead_of == suite.name and any(fnmatchcase(model, it) for it in other.models):
            return other
    return suite


def shown_name(suite: Suite) -> str:
    """Return what tables and limits call a suite: what it stands in for, else its own name."""
    return suite.instead_of or suite.name


def questions(suite: Suite, most: int | None = None) -> list[Question]:
    """Return what a suite asks, kind by kind in turn, `most` at most.

    A few are then of as many kinds as there are.
    """
    kinds: dict[str, list[Question]] = {}
    for question in _all(suite):
        kinds.setdefault(question.kind, []).append(question)
    rounds = max(map(len, kinds.values()))
    in_turn = [
        members[place]
        for place in range(rounds)
        for members in kinds.values()
        if place < len(members)
    ]
    return in_turn[:most]


def split_of(kind: str) -> str | None:
    """Return the part of a kind before its colon: `held-out` of `held-out: pair`."""
    return kind.partition(_PART)[0] if _PART in kind else None


def check_distinct(suites: tuple[Suite, ...]) -> None:
    """Raise ConfigError where two suites have the same name: their figures would be mixed."""
    names = [shown_name(suite) for suite in suites]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"Two suites are called '{name}'.", hint="Give each --suite once, or rename one."
            )


def _all(suite: Suite) -> Iterator[Question]:
    name = shown_name(suite)
    number = 0
    for prompts in suite.prompts:
        for text in prompts.texts:
            yield Question(suite=name, kind=prompts.kind, prompt=text, seed=number % _SEEDS)
            number += 1
    if suite.scenes is None:
        return
    requests = [
        request
        for split in suite.scenes.splits
        for request in sampled_requests(Split(split), suite.scenes.of_each)
    ]
    # of each group those that were trained on, then held-out ones: a few are then of both
    for request in sorted(requests, key=lambda it: GROUPS.index(group_of(it.scene))):
        yield Question(
            suite=name,
            kind=f"{request.split}{_PART}{group_of(request.scene)}",
            prompt=request.caption,
            seed=request.seed,
            scene=request.scene,
        )


_SEEDS = 5
"""Prompts take so many seeds in turn, as scenes do: a package then draws in few jobs."""
