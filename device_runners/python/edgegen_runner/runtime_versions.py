"""Refuses a runtime that is older than a package needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from .errors import RunnerFailure
from .runtimes import RUNTIMES

_MOST_DIGITS = 9


@dataclass(frozen=True)
class RuntimeNeed:
    """The first version of a runtime that executes a package, and why; None: no version does."""

    runtime: str
    version: Optional[str]
    why: str


def version_numbers(version: str) -> tuple[int, ...]:
    """Return a version's numbers, without zeros at their end; what follows them is left out.

    >>> version_numbers("1.20.0rc1")
    (1, 20)
    >>> version_numbers("newest")
    ()
    """
    numbers: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not 0 < len(digits) <= _MOST_DIGITS:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def refuse_older(needs: Iterable[RuntimeNeed], runtime: str, version: str, recipe: str) -> None:
    """Raise RunnerFailure (missing-runtime) where a runtime's version cannot execute a package.

    ``runtime`` and ``version`` are what is loaded, ``recipe`` is the package's. A version without
    numbers, that of somebody's own build, is taken for a new one.
    """
    have = version_numbers(version)
    for need in needs:
        if need.runtime != runtime:
            continue
        if need.version is None:
            raise RunnerFailure(
                "missing-runtime",
                f"No version of {runtime} executes the recipe {recipe!r} ({need.why}).",
                _instead(needs, runtime),
            )
        if have and have < version_numbers(need.version):
            raise RunnerFailure(
                "missing-runtime",
                f"{runtime} executes the recipe {recipe!r} from {need.version} on ({need.why}), "
                f"and {version} is installed.",
                f'Install it: pip install "{_distribution(runtime)}>={need.version}"',
            )


def _instead(needs: Iterable[RuntimeNeed], runtime: str) -> str:
    target = next((it.target for it in RUNTIMES if it.name == runtime), None)
    never = {need.runtime for need in needs if need.version is None}
    for other in RUNTIMES:
        if other.target == target and other.name not in never:
            return f"Install {other.name}: pip install {other.install}"
    return "Package the model in another recipe."


def _distribution(runtime: str) -> str:
    return next((it.package for it in RUNTIMES if it.name == runtime), runtime)
