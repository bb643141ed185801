"""Reads a value that the user names: one that ships with edgegen, or a file of the user's own."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Protocol, TypeVar

from edgegen.core.codec import load_toml
from edgegen.core.errors import ConfigError, nearest


class Named(Protocol):
    """A value whose file is called after it."""

    @property
    def name(self) -> str:
        """The name, which is the file's without `.toml`."""
        ...


N = TypeVar("N", bound=Named)


def names_in(folder: Path) -> tuple[str, ...]:
    """Return the names that a folder of TOML files has, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def load_named(
    cls: type[N],
    name_or_path: str,
    folder: Path,
    *,
    kind: str,
    known: Collection[str],
    others: Collection[str] = (),
) -> N:
    """Read `<folder>/<name>.toml`, where the name is one of `known`, or a file by its path.

    What ends in `.toml` or has a folder in it is a path. `kind` says in errors what is looked for,
    and `others` are names that they propose, too.
    Raises ConfigError for an unknown name, with the nearest, and for a file that holds something
    else.
    """
    if is_path(name_or_path):
        return load_toml(cls, Path(name_or_path))
    if name_or_path not in known:
        hint = nearest(name_or_path, (*known, *others))
        raise ConfigError(
            f"There is no {kind} '{name_or_path}'.",
            hint=f"{hint} A file of your own is given by its path.",
        )
    path = folder / f"{name_or_path}.toml"
    value = load_toml(cls, path)
    if value.name != name_or_path:
        raise ConfigError(f"{path}: name is '{value.name}'.", hint="Write the file's own name.")
    return value


def is_path(name_or_path: str) -> bool:
    """Say whether a file is meant (`./mine.toml`) rather than a name (`fp16`)."""
    return (
        name_or_path.endswith(".toml")
        or os.sep in name_or_path
        or (os.altsep is not None and os.altsep in name_or_path)
    )
