"""`edgegen bench`."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgegen.cli.command import command
from edgegen.cli.completion import complete_package
from edgegen.cli.console import Console, can_redraw
from edgegen.cli.durations import DURATION
from edgegen.cli.on_device import LOCAL, attached, device_option, patience_option
from edgegen.cli.plain_progress import PlainProgress

if TYPE_CHECKING:
    from edgegen.bench.plan import BenchPlan
    from edgegen.bench.sustained import Sustained
    from edgegen.core.measurement import Measurement


@command(
    examples=(
        "edgegen bench scenes/onnx-fp16-storage --quick",
        "edgegen bench my-package --device ssh://pi@raspberrypi.local --html report.html",
        "edgegen bench my-package --device adb://SERIAL --sustained 10m",
    ),
    groups={
        "Where": ("device", "patience_s", "start_c"),
        "How much": ("quick", "images", "restarts", "sustained_s", "only_plan"),
        "What is drawn": ("prompt", "negative_prompt", "seed", "width", "height"),
        "How": ("steps", "guidance", "scheduler"),
        "The runtime": ("providers", "threads", "memory", "residency"),
        "Components only": ("benchmark_model", "benchmark_tool", "accelerator"),
        "The result": ("json_file", "html_file"),
    },
    ends_with=("MissingDependencyError", "DeviceError", "RunnerError", "IntegrityError"),
)
@click.argument("package", type=click.Path(path_type=Path), shell_complete=complete_package)
@device_option("local")
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
    "the device no longer cools down, unless told.",
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
@click.option("--prompt", help="What to draw; the package's golden prompt unless told.")
@click.option("--negative-prompt", help="What not to draw.")
@click.option(
    "--steps", type=click.IntRange(1), help="Denoising steps; the package's own unless told."
)
@click.option("--guidance", type=float, help="Guidance scale; the package's own unless told.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Seed of every image.",
)
@click.option("--scheduler", help="Another scheduler than the package's.")
@click.option("--width", type=click.IntRange(1), help="Pixels; the package's own unless told.")
@click.option("--height", type=click.IntRange(1), help="Pixels; the package's own unless told.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Threads of the runtime; on a device its profile's, else the runtime's own choice.",
)
@click.option(
    "--provider",
    "providers",
    multiple=True,
    help="Execution provider; on a device its profile's unless told. May be repeated.",
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
@click.option(
    "--json", "json_file", metavar="FILE", help="Write the raw samples; - is the terminal."
)
@click.option(
    "--html",
    "html_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page with all series.",
)
@click.pass_context
def bench(
    context: click.Context,
    /,
    package: Path,
    device: str,
    start_c: float | None,
    patience_s: float,
    benchmark_model: str | None,
    benchmark_tool: str,
    accelerator: str,
    only_plan: bool,
    json_file: str | None,
    html_file: Path | None,
    **settings: object,
) -> None:
    """Measure PACKAGE on a device; this machine, unless told.

    The golden case comes first: a device that makes another image is not timed. Then the cold load
    (files evicted from the page cache), steady images in several processes, and the peak memory in
    a run of its own. With --sustained one process makes images until the time is up instead.
    """

    from edgegen.bench.plan import BenchSettings, plan
    from edgegen.bench.session import Conditions, measure
    from edgegen.bench.sustained import sustained_runs
    from edgegen.core.codec import dump_json
    from edgegen.core.files import write_atomic
    from edgegen.core.scratch import ScratchFolder

    console = context.find_object(Console) or Console()
    outputs = [Path(file) for file in (json_file, html_file) if file is not None and file != "-"]
    for path in outputs:
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
            json_file=json_file,
        )
        return
    planned = plan(package, BenchSettings(**settings))  # type: ignore[arg-type]  # click checked
    if only_plan:
        _show_plan(console, planned, device)
        return
    _announce(console, planned, device)
    conditions = Conditions(cool_first=planned.is_sustained, start_c=start_c, patience_s=patience_s)
    # Lines, not bars: drawing bars took 1.6 % of a core, which the runtime's threads want too.
    progress = PlainProgress(console.note)
    with ScratchFolder("bench") as folder:
        with attached(device, progress, console.note) as connected:
            measurement = measure(
                planned,
                progress,
                device=connected,
                conditions=conditions,
                pictures=folder,
            )
        if json_file == "-":
            console.json(measurement)
        elif json_file is not None:
            write_atomic(Path(json_file), dump_json(measurement))
        sustained = sustained_runs(measurement)  # once: it can take seconds
        if html_file is not None:
            from edgegen.report.details import pictures_in
            from edgegen.report.html import page

            made = pictures_in(folder, measurement)
            write_atomic(html_file, page(measurement, made, sustained))
    if json_file != "-":
        _show(console, measurement, sustained)
    for path in outputs:
        console.note(f"Written: {path}")


def _check_folder(path: Path) -> None:
    """Refuse an output that could not be written after all the measuring."""
    from edgegen.core.errors import ConfigError

    if not path.absolute().parent.is_dir():
        raise ConfigError(
            f"{path} cannot be written: its folder does not exist.",
            hint=f"mkdir -p {path.absolute().parent}",
        )


def _announce(console: Console, planned: BenchPlan, device: str) -> None:
    console.note(f"{_what_runs(planned)}{_how_long(planned, device)}.")


def _what_runs(planned: BenchPlan) -> str:
    from edgegen.report.figures import seconds

    steps, processes = planned.workload.steps, len(planned.runs)
    lasting = [run.duration_s for run in planned.runs if run.duration_s is not None]
    if lasting:
        return f"Images of {steps} steps for {seconds(sum(lasting))}, in {processes} processes"
    return f"{planned.images} images of {steps} steps in {processes} processes"


def _how_long(planned: BenchPlan, device: str) -> str:
    from edgegen.report.figures import seconds

    if device != LOCAL:
        return f"; how long that takes on {device} is not known"
    return f", roughly {seconds(planned.estimated_s)} by the sizes of the components"


def _show_plan(console: Console, planned: BenchPlan, device: str) -> None:
    from edgegen.report.figures import seconds

    work = planned.workload
    rows = [
        (
            run.title if run.duration_s is None else f"{run.title}, for {seconds(run.duration_s)}",
            run.warmup_images or None,
            run.images if run.duration_s is None else None,
        )
        for run in planned.runs
    ]
    notes = [
        f"{work.width}×{work.height}, {work.steps} steps, guidance {work.guidance:g}, "
        f"{work.scheduler}, seed {work.seed}, prompt: {work.prompt or 'none'}",
        f"Roughly {seconds(planned.estimated_s)}, by the sizes of the components and a matrix "
        "product that was timed just now."
        if device == LOCAL
        else f"How long that takes on {device} is not known.",
    ]
    console.table("Benchmark", ("process", "warm-up images", "images"), rows, notes)


def _show(console: Console, measurement: Measurement, sustained: Sequence[Sustained]) -> None:
    from edgegen.report import table, terminal

    is_terminal = can_redraw(sys.stdout)
    width = shutil.get_terminal_size().columns

    def say(text: str) -> None:
        console.print(textwrap.fill(text, width) if is_terminal else text)

    def warn(text: str) -> None:
        label = " " * len("warning: ")  # the console writes it in its place
        is_shown = can_redraw(sys.stderr)
        filled = textwrap.fill(text, width, initial_indent=label) if is_shown else text
        console.warn(filled.lstrip())

    first = terminal.opening(measurement)
    if first is not None:
        say(first)
        console.print()
    say(terminal.headline(measurement))
    console.print()
    for sentence in terminal.verdicts(measurement, sustained):
        say(sentence)
        console.print()
    for each in terminal.tables(measurement, sustained):
        shown = table.fitted(each, width) if is_terminal else each
        console.table(shown.title, shown.columns, table.aligned(shown))
    drawn = terminal.plot(measurement, sustained, width=min(width, 120), unicode=_speaks_unicode())
    if drawn:
        console.print(drawn)
        console.print()
    golden = terminal.golden_line(measurement)
    if golden is not None:
        say(golden)
    for finding in terminal.notes(measurement, sustained):
        if finding.weight == "warning":
            warn(finding.text)
        else:
            say(finding.text)


def _speaks_unicode() -> bool:
    """Say whether standard output can write Braille and lines."""
    try:
        "⣿┊└".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
