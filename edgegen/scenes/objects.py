"""The things that scenes are made of: what each is called, and the picture that shows it.

`objects.csv` holds one a line: the picture's code points, then its names, separated by semicolons;
a name is its singular and, after a slash, a plural that the rules of `plural` miss. A plural of `-`
marks a name that is never counted: "grapes", "fire".
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("objects.csv")

_NEVER_COUNTED = "-"
_SIBILANTS = ("s", "x", "z", "ch", "sh")


@dataclass(frozen=True, slots=True)
class Name:
    """What a thing is called. `plural` is None where it is never counted."""

    singular: str
    plural: str | None

    def with_article(self, adjective: str = "") -> str:
        """Return "a fox", "an owl", "a small owl", or "grapes".

        The rule is wrong for "hourglass" ("a hourglass") and "ewe" ("an ewe"), as `plural` is for
        "wolf" ("wolfs"). The models that ship were trained on these words, so they stay until
        those are trained again.
        """
        words = f"{adjective} {self.singular}".strip()
        if self.plural is None:
            return words
        return f"an {words}" if words[0] in "aeio" or words.startswith("um") else f"a {words}"


@dataclass(frozen=True, slots=True)
class SceneObject:
    """A thing: its place in the table and in the pictures, its picture's file, and its names."""

    index: int
    picture: str
    names: tuple[Name, ...]

    @property
    def name(self) -> Name:
        """Return what it is called first of all."""
        return self.names[0]


@cache
def objects() -> tuple[SceneObject, ...]:
    """Return every thing, in the table's order."""
    with TABLE.open(encoding="utf-8", newline="") as table:
        return tuple(
            SceneObject(index, row["picture"], tuple(map(_name, row["names"].split(";"))))
            for index, row in enumerate(csv.DictReader(table))
        )


def plural(singular: str) -> str:
    """Return a regular English plural: of "fox" "foxes", of "mug of beer" "mugs of beer"."""
    head, of, rest = singular.partition(" of ")
    if head.endswith(_SIBILANTS):
        return f"{head}es{of}{rest}"
    if head.endswith("y") and head[-2] not in "aeiou":
        return f"{head[:-1]}ies{of}{rest}"
    return f"{head}s{of}{rest}"


def _name(text: str) -> Name:
    singular, slash, given = (part.strip() for part in text.partition("/"))
    if not slash:
        return Name(singular, plural(singular))
    return Name(singular, None if given == _NEVER_COUNTED else given)
