"""Options for limits, made of the figures that there are: `--min-psnr 30dB`, `--max-size 60MB`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from edgegen.core.figures import FIGURES, FigureKind, Limit
from edgegen.core.limit_text import EXAMPLES

F = TypeVar("F", bound=Callable[..., Any])


def quality_limits() -> tuple[str, ...]:
    """Return the names of the figures of quality."""
    return tuple(name for name, kind in FIGURES.items() if kind.of_quality)


def limit_options(names: tuple[str, ...]) -> Callable[[F], F]:
    """Return a decorator that adds an option for each figure, by its name in `FIGURES`."""

    def decorate(function: F) -> F:
        for name in reversed(names):
            function = _option(FIGURES[name])(function)
        return function

    return decorate


def parameters(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the command's function calls the options: `min_psnr`."""
    return tuple(FIGURES[name].option.strip("-").replace("-", "_") for name in names)


def take_limits(options: dict[str, Any], names: tuple[str, ...]) -> tuple[Limit, ...]:
    """Take the limits out of a command's options. Raises ConfigError for one that isn't one."""
    from edgegen.core.limit_text import parse_limit

    typed: Mapping[str, str | None] = {
        name: options.pop(parameter)
        for name, parameter in zip(names, parameters(names), strict=True)
    }
    return tuple(parse_limit(name, text) for name, text in typed.items() if text is not None)


def _option(kind: FigureKind) -> Callable[[F], F]:
    example = EXAMPLES[kind.unit]
    return click.option(
        kind.option,
        metavar=example,
        help=f"{kind.title[:1].upper()}{kind.title[1:]}: {kind.sense} so much.",
    )
