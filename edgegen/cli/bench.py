"""`edgegen bench`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgegen.cli.console import Console, can_redraw
from edgegen.cli.plain_progress import PlainProgress

if TYPE_CHECKING:
    from edgegen.bench.plan import BenchPlan
    from edgegen.core.measurement import Measurement


@click.command()
@click.argument("package", type=click.Path(path_type=Path))
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
    "--threads", type=click.IntRange(1), help="Threads of the runtime; its own choice unless told."
)
@click.option("--provider", "providers", multiple=True, help="Execution provider; may be repeated.")
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
    only_plan: bool,
    json_file: str | None,
    html_file: Path | None,
    **settings: object,
) -> None:
    """Measure PACKAGE on this machine.

    The golden case comes first: a device that makes another image is not timed. Then the cold load
    (files evicted from the page cache), steady images in several processes, and the peak memory in
    a run of its own.
    """
    import tempfile

    from edgegen.bench.plan import BenchSettings, plan
    from edgegen.bench.session import measure
    from edgegen.core.codec import dump_json
    from edgegen.core.files import write_atomic

    console = context.find_object(Console) or Console()
    outputs = [Path(file) for file in (json_file, html_file) if file is not None and file != "-"]
    for path in outputs:
        _check_folder(path)
    planned = plan(package, BenchSettings(**settings))  # type: ignore[arg-type]  # click checked
    if only_plan:
        _show_plan(console, planned)
        return
    _announce(console, planned)
    # Lines, not bars: drawing bars took 1.6 % of a core, which the runtime's threads want too.
    progress = PlainProgress(console.note)
    with tempfile.TemporaryDirectory(prefix="edgegen-bench-") as folder:
        measurement = measure(planned, progress, pictures=Path(folder))
        if json_file == "-":
            console.json(measurement)
        elif json_file is not None:
            write_atomic(Path(json_file), dump_json(measurement))
        if html_file is not None:
            from edgegen.report.details import pictures_in
            from edgegen.report.html import page

            write_atomic(html_file, page(measurement, pictures_in(Path(folder), measurement)))
    if json_file != "-":
        _show(console, measurement)
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


def _announce(console: Console, planned: BenchPlan) -> None:
    from edgegen.report.figures import seconds

    console.note(
        f"{planned.images} images of {planned.workload.steps} steps in {len(planned.runs)} "
        f"processes, roughly {seconds(planned.estimated_s)} by the sizes of the components."
    )


def _show_plan(console: Console, planned: BenchPlan) -> None:
    from edgegen.report.figures import seconds

    work = planned.workload
    rows = [(run.title, run.warmup_images or None, run.images) for run in planned.runs]
    notes = [
        f"{work.width}×{work.height}, {work.steps} steps, guidance {work.guidance:g}, "
        f"{work.scheduler}, seed {work.seed}, prompt: {work.prompt or 'none'}",
        f"Roughly {seconds(planned.estimated_s)}, by the sizes of the components and a matrix "
        "product that was timed just now.",
    ]
    console.table("Benchmark", ("process", "warm-up images", "images"), rows, notes)


def _show(console: Console, measurement: Measurement) -> None:
    from edgegen.report import terminal

    console.print(terminal.headline(measurement))
    console.print()
    width = shutil.get_terminal_size().columns
    for table in terminal.tables(measurement):
        shown = terminal.fitted(table, width) if can_redraw(sys.stdout) else table
        console.table(shown.title, shown.columns, terminal.aligned(shown))
    drawn = terminal.plot(measurement, width=min(width, 120), unicode=_speaks_unicode())
    if drawn:
        console.print(drawn)
        console.print()
    golden = terminal.golden_line(measurement)
    if golden is not None:
        console.print(golden)
    for finding in terminal.notes(measurement):
        if finding.weight == "warning":
            console.warn(finding.text)
        else:
            console.print(finding.text)


def _speaks_unicode() -> bool:
    """Say whether standard output can write Braille and lines."""
    try:
        "⣿┊└".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
