"""`edgegen bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.command import command
from edgegen.cli.completion import complete_package, complete_profile
from edgegen.cli.console import Console
from edgegen.cli.durations import DURATION
from edgegen.cli.on_device import attached, device_option, patience_option, root_option
from edgegen.cli.on_package import check_package, verify_option
from edgegen.cli.plain_progress import PlainProgress
from edgegen.cli.text import TEXT
from edgegen.core.errors import INTERRUPTED_EXIT_CODE
from edgegen.runner.runtimes import listed_choices

if TYPE_CHECKING:
    from edgegen.core.measurement import Measurement
    from edgegen.measure.cut_short import CutShortError

_FILE = click.Path(path_type=Path, dir_okay=False)


@command(
    examples=(
        "edgegen bench scenes/onnx-fp16-storage --quick",
        "edgegen bench my-package --device ssh://pi@raspberrypi.local --html report.html",
        "edgegen bench my-package --device adb://SERIAL --sustained 10m",
    ),
    groups={
        "Where": ("device", "patience_s", "start_c"),
        "How much": ("quick", "images", "restarts", "sustained_s", "only_plan"),
        "The package": ("verify",),
        "What is drawn": ("prompt", "negative_prompt", "seed", "width", "height"),
        "How": ("steps", "guidance", "scheduler"),
        "The runtime": ("profile", "runtime", "providers", "threads", "memory", "residency"),
        "Components only": ("benchmark_model", "benchmark_tool", "accelerator"),
        "The result": ("as_json", "json_file", "html_file"),
    },
    ends_with=("MissingDependencyError", "DeviceError", "RunnerError", "IntegrityError"),
)
@click.argument("package", type=click.Path(path_type=Path), shell_complete=complete_package)
@device_option("local")
@root_option
@click.option(
    "--sustained",
    "sustained_s",
    type=DURATION,
    metavar="DURATION",
    help="Make images for this long (10m), and say whether the device throttled.",
)
@click.option(
    "--start-temperature",
    "start_c",
    type=float,
    metavar="CELSIUS",
    help="Wait for this before anything is timed, five minutes at most; --sustained waits until "
    "the device no longer cools down by default.",
)
@click.option(
    "--images",
    type=click.IntRange(1),
    default=12,
    show_default=True,
    help="Steady images, all restarts together.",
)
@click.option(
    "--restarts",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Processes that make them.",
)
@verify_option
@click.option(
    "--prompt", type=TEXT, help="What to draw. Default: what suits the model, as far as known."
)
@click.option("--negative-prompt", type=TEXT, help="What not to draw.")
@click.option("--steps", type=click.IntRange(1), help="Denoising steps. Default: the package's.")
@click.option("--guidance", type=float, help="Guidance scale. Default: the package's.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Seed of every image.",
)
@click.option("--scheduler", help="Another scheduler than the package's.")
@click.option("--width", type=click.IntRange(1), help="Pixels. Default: the package's.")
@click.option("--height", type=click.IntRange(1), help="Pixels. Default: the package's.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Threads of the runtime; on a device its profile's, else as many as a CPU quota feeds, "
    "else the runtime's own choice.",
)
@click.option(
    "--profile",
    shell_complete=complete_profile,
    help="Take runtime, providers and threads from this profile. Default: on a device, the one "
    "that fits it.",
)
@click.option(
    "--runtime",
    metavar="NAME",
    help=f"What runs it, where its target has several: {listed_choices()}.",
)
@click.option(
    "--provider",
    "providers",
    multiple=True,
    help="Execution provider; may be repeated. Default: on a device its profile's.",
)
@click.option(
    "--residency",
    type=click.Choice(["all", "sequential"]),
    default="all",
    show_default=True,
    help="Keep all components in memory, or one at a time.",
)
@click.option(
    "--memory",
    type=click.Choice(["auto", "lean", "fast"]),
    default="auto",
    show_default=True,
    help="Leave weights in the mapped files, or let the runtime copy and repack them; "
    "auto: small components only.",
)
@click.option("--quick", is_flag=True, help="One restart, three images: a look, no measurement.")
@click.option(
    "--benchmark-model",
    "benchmark_model",
    metavar="PATH",
    help="Time each component of a TFLite package by your own benchmark_model, here or there, "
    "and nothing else.",
)
@click.option(
    "--benchmark-tool",
    type=click.Choice(["tflite", "litert"]),
    default="tflite",
    show_default=True,
    help="Whose benchmark_model that is: TensorFlow Lite's or LiteRT's own.",
)
@click.option(
    "--accelerator",
    type=click.Choice(["cpu", "gpu", "nnapi", "npu"]),
    default="cpu",
    show_default=True,
    help="What benchmark_model computes on.",
)
@patience_option
@click.option("--plan", "only_plan", is_flag=True, help="Say what would run, and how long.")
@click.option("--json", "as_json", is_flag=True, help="Write the raw samples as JSON.")
@click.option("--json-file", type=_FILE, metavar="FILE", help="Write the raw samples to a file.")
@click.option(
    "--html", "html_file", type=_FILE, metavar="FILE", help="Write a page with all series."
)
@click.pass_context
def bench(
    context: click.Context,
    /,
    package: Path,
    device: str,
    verify: bool,
    start_c: float | None,
    patience_s: float,
    benchmark_model: str | None,
    benchmark_tool: str,
    accelerator: str,
    only_plan: bool,
    as_json: bool,
    json_file: Path | None,
    html_file: Path | None,
    profile: str | None,
    **settings: Any,
) -> int:
    """Measure PACKAGE on a device (default: this machine).

    The golden case comes first: a device that makes another image is not timed. Then the cold load
    (files evicted from the page cache), steady images in several processes, and the peak memory in
    a run of its own. With --sustained one process makes images until the time is up instead. Ctrl-C
    ends it with what was measured by then.
    """
    from edgegen.cli import bench_output
    from edgegen.core.manifest import load_manifest
    from edgegen.core.scratch import ScratchFolder
    from edgegen.devices.profiles import load_profile
    from edgegen.measure.cut_short import CutShortError
    from edgegen.measure.plan import BenchSettings, plan
    from edgegen.measure.session import Conditions, measure

    console = context.find_object(Console) or Console()
    for path in (json_file, html_file):
        _check_folder(path)
    if benchmark_model is not None:
        from edgegen.cli.component_times import bench_components

        bench_components(
            console,
            package,
            device,
            benchmark_model,
            tool=benchmark_tool,
            accelerator=accelerator,
            settings=settings,
            as_json=as_json,
            json_file=json_file,
        )
        return 0
    chosen = None if profile is None else load_profile(profile)
    planned = plan(package, BenchSettings(profile=chosen, **settings))
    if only_plan:
        bench_output.show_plan(console, planned, device, as_json=as_json)
        return 0
    check_package(console, package, load_manifest(package), device, verify=verify)
    bench_output.announce(console, planned, device)
    conditions = Conditions(cool_first=planned.is_sustained, start_c=start_c, patience_s=patience_s)
    # Lines, not bars: drawing bars took 1.6 % of a core, which the runtime's threads want too.
    progress = PlainProgress(console.note)
    cut: CutShortError | None = None
    with ScratchFolder("bench") as folder:
        try:
            with attached(device, progress, console.note) as connected:
                measurement = measure(
                    planned, progress, device=connected, conditions=conditions, pictures=folder
                )
        except CutShortError as error:
            cut, measurement = error, error.measurement
        _write(console, measurement, folder, as_json, json_file, html_file)
    return 0 if cut is None else _end(console, cut)


def _write(
    console: Console,
    measurement: Measurement,
    pictures: Path,
    as_json: bool,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """Show a measurement, or write it as JSON, and write the files that were asked for."""
    from edgegen.cli import bench_output
    from edgegen.core.codec import dump_json
    from edgegen.core.files import write_atomic
    from edgegen.report.details import pictures_in
    from edgegen.report.html import page
    from edgegen.statistics.analysis import analyse

    if json_file is not None:
        write_atomic(json_file, dump_json(measurement))
    analysis = analyse(measurement)  # once: it can take seconds
    if html_file is not None:
        write_atomic(html_file, page(analysis, pictures_in(pictures, measurement)))
    if as_json:
        console.json(measurement)
    else:
        bench_output.show(console, analysis)
    for path in (json_file, html_file):
        if path is not None:
            console.note(f"Written: {path}")


def _end(console: Console, cut: CutShortError) -> int:
    """Say what cut a measurement short, after its report, and return what to exit with."""
    from edgegen.core.errors import EdgegenError

    cause = cut.__cause__
    if isinstance(cause, SystemExit):
        raise cause
    if isinstance(cause, EdgegenError):
        console.error(cause.message, cause.hint)
        return cause.exit_code
    console.error("Interrupted. What was measured by then is above.")
    return INTERRUPTED_EXIT_CODE


def _check_folder(path: Path | None) -> None:
    """Refuse an output that could not be written after all the measuring."""
    from edgegen.core.errors import ConfigError

    if path is not None and not path.absolute().parent.is_dir():
        raise ConfigError(
            f"{path} cannot be written: its folder does not exist.",
            hint=f"mkdir -p {path.absolute().parent}",
        )
