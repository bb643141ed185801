"""The options of `edgegen bench`, by what they choose."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click
from edgegen_runner.request import RESIDENCIES

from edgegen.cli.durations import DURATION
from edgegen.cli.numbers import NUMBER
from edgegen.cli.shared_options import (
    arithmetic_option,
    no_history_option,
    runtime_profile_option,
)
from edgegen.cli.text import TEXT
from edgegen.runner.runtimes import listed_choices

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path, dir_okay=False)


def _stacked(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Return one decorator that adds options in this order."""
    return lambda function: reduce(lambda made, option: option(made), reversed(options), function)


amount_options: Callable[[F], F] = _stacked(
    click.option(
        "--sustained",
        "sustained_s",
        type=DURATION,
        metavar="DURATION",
        help="Make images for this long (10m), and say whether the device throttled.",
    ),
    click.option(
        "--start-temperature",
        "start_c",
        type=NUMBER,
        metavar="CELSIUS",
        help="Wait for this before anything is timed, five minutes at most; --sustained waits "
        "until the device no longer cools down by default.",
    ),
    click.option(
        "--images",
        type=click.IntRange(1),
        default=12,
        show_default=True,
        help="Steady images, all restarts together.",
    ),
    click.option(
        "--restarts",
        type=click.IntRange(1),
        default=3,
        show_default=True,
        help="Processes that make them.",
    ),
    click.option(
        "--quick", is_flag=True, help="One restart, three images: a look, no measurement."
    ),
)

drawing_options: Callable[[F], F] = _stacked(
    click.option(
        "--prompt", type=TEXT, help="What to draw. Default: what suits the model, as far as known."
    ),
    click.option("--negative-prompt", type=TEXT, help="What not to draw."),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**63 - 1),
        default=0,
        show_default=True,
        help="Seed of every image.",
    ),
    click.option("--width", type=click.IntRange(1), help="Pixels. Default: the package's."),
    click.option("--height", type=click.IntRange(1), help="Pixels. Default: the package's."),
    click.option(
        "--steps", type=click.IntRange(1), help="Denoising steps. Default: the package's."
    ),
    click.option("--guidance", type=NUMBER, help="Guidance scale. Default: the package's."),
    click.option("--scheduler", help="Another scheduler than the package's."),
)

runtime_options: Callable[[F], F] = _stacked(
    runtime_profile_option,
    click.option(
        "--runtime",
        metavar="NAME",
        help=f"What runs it, where its target has several: {listed_choices()}.",
    ),
    click.option(
        "--provider",
        "providers",
        multiple=True,
        help="Execution provider; may be repeated. Default: on a device its profile's.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1),
        help="Threads of the runtime; on a device its profile's, else as many as a CPU quota "
        "feeds, else the runtime's own choice.",
    ),
    arithmetic_option,
    click.option(
        "--memory",
        type=click.Choice(["auto", "lean", "fast"]),
        default="auto",
        show_default=True,
        help="Leave weights in the mapped files, or let the runtime copy and repack them; "
        "auto: small components only.",
    ),
    click.option(
        "--residency",
        type=click.Choice(RESIDENCIES),
        default="all",
        show_default=True,
        help="Keep all components in memory, those that draw, or one at a time.",
    ),
)

component_options: Callable[[F], F] = _stacked(
    click.option(
        "--benchmark-model",
        "benchmark_model",
        metavar="PATH",
        help="Time each component of a TFLite package by your own benchmark_model, here or there, "
        "and nothing else.",
    ),
    click.option(
        "--benchmark-tool",
        type=click.Choice(["tflite", "litert"]),
        default="tflite",
        show_default=True,
        help="Whose benchmark_model that is: TensorFlow Lite's or LiteRT's own.",
    ),
    click.option(
        "--accelerator",
        type=click.Choice(["cpu", "gpu", "nnapi", "npu"]),
        default="cpu",
        show_default=True,
        help="What benchmark_model computes on.",
    ),
)

result_options: Callable[[F], F] = _stacked(
    click.option("--plan", "only_plan", is_flag=True, help="Say what would run, and how long."),
    click.option("--json", "as_json", is_flag=True, help="Write the raw samples as JSON."),
    click.option(
        "--json-file", type=_FILE, metavar="FILE", help="Write the raw samples to a file."
    ),
    click.option(
        "--html", "html_file", type=_FILE, metavar="FILE", help="Write a page with all series."
    ),
    no_history_option,
)
