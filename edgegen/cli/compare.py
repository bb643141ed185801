"""`edgegen compare`: what changed between two packages or two results, and whether it is worse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.command import command
from edgegen.cli.compare_packages import DRAWING
from edgegen.cli.console import Console
from edgegen.cli.numbers import NUMBER
from edgegen.cli.on_device import DEVICE, DEVICE_HELP, patience_option, root_option
from edgegen.cli.on_package import verify_option
from edgegen.cli.shared_options import (
    ADAPTERS,
    READING,
    adapter_options,
    arithmetic_of_both_option,
    no_history_option,
    reading_options,
)
from edgegen.cli.text import TEXT
from edgegen.cli.typed_options import refuse_typed

if TYPE_CHECKING:
    from edgegen.compare.sources import Package
    from edgegen.compare.tolerances import Tolerance
    from edgegen.compare.values import Comparison

_PATH = click.Path(path_type=Path)
_MEASURING = ("restarts", "images", "seed", "threads", "memory", "patience_s", "root")
_COMPUTING = (*DRAWING, "arithmetic")
_JUDGING = ("suites", "pictures", "model", *ADAPTERS, *READING)


@command(
    examples=(
        "edgegen compare old/onnx-fp16 new/onnx-fp16 --device ssh://pi@raspberrypi.local",
        "edgegen compare old.json new.json --fail-on latency:5%,memory:2%",
        "edgegen compare old/onnx-fp16 new/onnx-fp16 --fail-on psnr:1dB,ssim:0.01,right:0.02",
    ),
    groups={
        "What is a failure": ("fail_on",),
        "Latency, memory and energy": ("device", "restarts", "images", "patience_s"),
        "Quality": ("suites", "pictures", "no_quality"),
        "The model": ("model", *ADAPTERS, *READING),
        "How both draw": (
            *("steps", "guidance", "seed", "width", "height", "threads", "arithmetic", "memory"),
        ),
        "The packages": ("verify",),
        "The result": ("as_json", "no_history"),
    },
    ends_with=(
        *("RegressionError", "MissingDependencyError", "ParityError", "DeviceError"),
        *("RunnerError", "IntegrityError", "SourceError"),
    ),
)
@click.argument("old", type=_PATH)
@click.argument("new", type=_PATH)
@click.option(
    "--fail-on",
    type=TEXT,
    metavar="FIGURE:MUCH,…",
    help="End with code 11 where a figure got worse by more than this: "
    "latency:5%,memory:2%,energy:5%,size:1%,psnr:1dB,ssim:0.01,right:0.02.",
)
@click.option(
    "--device",
    "-d",
    type=DEVICE,
    metavar="DEVICE",
    help=f"Run two packages in turns there. {DEVICE_HELP}",
)
@root_option
@verify_option
@click.option(
    "--restarts",
    type=click.IntRange(3),
    default=6,
    show_default=True,
    help="Processes of each package, in turns.",
)
@click.option(
    "--images",
    type=click.IntRange(6),
    default=24,
    show_default=True,
    help="Steady images of each package, all restarts together.",
)
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME",
    help="Prompts that both draw, as `edgegen evaluate` has them; may be repeated.",
)
@click.option("--pictures", type=click.IntRange(1), help="At most so many prompts of a suite.")
@click.option("--model", help="Where the packages' model is, if not where they say.")
@adapter_options
@reading_options
@click.option("--no-quality", is_flag=True, help="Draw no pictures of packages to compare.")
@click.option("--steps", type=click.IntRange(1), help="Denoising steps. Default: the packages'.")
@click.option("--guidance", type=NUMBER, help="Guidance scale. Default: the packages'.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Seed of timed images.")
@click.option("--width", type=click.IntRange(1), help="Pixels. Default: the packages'.")
@click.option("--height", type=click.IntRange(1), help="Pixels. Default: the packages'.")
@click.option("--threads", type=click.IntRange(1), help="Threads of the runtime.")
@arithmetic_of_both_option
@click.option(
    "--memory",
    type=click.Choice(["auto", "lean", "fast"]),
    default="auto",
    show_default=True,
    help="How the runtime holds weights; see `edgegen bench --help`.",
)
@patience_option
@no_history_option
@click.option("--json", "as_json", is_flag=True, help="Write the comparison as JSON.")
@click.pass_context
def compare(
    context: click.Context,
    /,
    old: Path,
    new: Path,
    fail_on: str | None,
    device: str | None,
    as_json: bool,
    **settings: Any,
) -> int:
    """Compare OLD with NEW: two packages of a model, or two results of `bench` or `evaluate`.

    Of packages it compares the size and, picture by picture, the quality; with --device also
    latency, memory and energy, measured in turns. Where nothing changed, at least 95 of 100
    comparisons find no difference.
    """
    from edgegen.cli.compare_packages import compare_both
    from edgegen.compare.evaluations import compare_evaluations
    from edgegen.compare.measurements import compare_measurements
    from edgegen.compare.sources import Package, read_pair
    from edgegen.compare.tolerances import parse_tolerances
    from edgegen.core.errors import ConfigError
    from edgegen.core.evaluation import Evaluation
    from edgegen.core.measurement import Measurement

    console = context.find_object(Console) or Console()
    tolerances = () if fail_on is None else parse_tolerances(fail_on)
    if settings["images"] < 2 * settings["restarts"]:
        raise ConfigError(
            f"--images {settings['images']} of {settings['restarts']} restarts is less than two "
            "images a process, and nobody could say how sure a difference is.",
            hint=f"Give --images {2 * settings['restarts']} or more, or fewer --restarts.",
        )
    before, after = read_pair(old, new)
    names = str(old), str(new)
    if isinstance(before, Package) and isinstance(after, Package):
        _refuse_for_packages(
            context,
            device,
            no_quality=settings["no_quality"],
            takes_loras=_takes_loras(before, after),
        )
        found = compare_both(console, (before.path, after.path), device, settings)
    elif device is not None:
        raise ConfigError(
            f"{old} and {new} are results, which no device is needed for.",
            hint="Leave out --device, or give two packages.",
        )
    elif isinstance(before, Measurement) and isinstance(after, Measurement):
        _refuse_for_results(context)
        found = compare_measurements(before, after, names=names)
    else:
        assert isinstance(before, Evaluation)
        assert isinstance(after, Evaluation)
        _refuse_for_results(context)
        found = compare_evaluations(before, after, names=names)
    return _report(console, found, tolerances, as_json=as_json)


def _refuse_for_results(context: click.Context) -> None:
    """Raise UsageError for options that results have no use for."""
    names = (*_MEASURING, *_COMPUTING, *_JUDGING, "no_quality", "verify")
    refuse_typed(context, names, "OLD and NEW are results, which nothing is drawn for.")


def _refuse_for_packages(
    context: click.Context, device: str | None, *, no_quality: bool, takes_loras: bool
) -> None:
    """Raise UsageError for options of what packages are not asked for.

    Packages whose layers take LoRAs are measured with them, too.
    """
    if device is None:
        refuse_typed(context, _MEASURING, "without --device nothing is measured.")
    if no_quality:
        given = {"loras", "model"} if takes_loras and device is not None else set()
        judging = set(_JUDGING) - given
        refuse_typed(context, judging, "with --no-quality no pictures are drawn to compare.")
    if device is None and no_quality:
        refuse_typed(
            context, _COMPUTING, "with --no-quality and without --device nothing is drawn."
        )


def _takes_loras(*packages: Package) -> bool:
    from edgegen.core.manifest import load_manifest
    from edgegen.packaging.lora_file import takes_loras

    return any(takes_loras(load_manifest(package.path)) for package in packages)


def _report(
    console: Console, found: Comparison, tolerances: tuple[Tolerance, ...], *, as_json: bool
) -> int:
    """Show a comparison, and return the exit code."""
    from edgegen.cli.compare_output import show
    from edgegen.compare.tolerances import doubts, failures, hint_for
    from edgegen.core.codec import encode
    from edgegen.core.errors import RegressionError

    broken, unsure = failures(found, tolerances), doubts(found, tolerances)
    if as_json:
        verdicts = [{**encode(each), "verdict": each.verdict} for each in found.changes]
        judged = {"changes": verdicts, "failures": list(broken), "doubts": list(unsure)}
        console.json({**encode(found), **judged})
    else:
        show(console, found)
    for sentence in unsure:
        console.warn(sentence)
    if not broken:
        return 0
    console.error(" ".join(broken), hint_for(found, tolerances))
    return RegressionError.exit_code
