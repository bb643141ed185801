"""What `edgegen bench` prints: what will run, and what was measured."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from edgegen.cli.console import Console, can_redraw
from edgegen.cli.on_device import LOCAL

if TYPE_CHECKING:
    from edgegen.measure.plan import BenchPlan
    from edgegen.statistics.analysis import Analysis


def announce(console: Console, planned: BenchPlan, device: str) -> None:
    """Say what will run, and about how long."""
    console.note(f"{_what_runs(planned)}{_how_long(planned, device)}.")


def _what_runs(planned: BenchPlan) -> str:
    from edgegen.core.units import format_latency

    steps, processes = planned.workload.steps, len(planned.runs)
    lasting = [run.duration_s for run in planned.runs if run.duration_s is not None]
    if lasting:
        return (
            f"Images of {steps} steps for {format_latency(sum(lasting))}, in {processes} processes"
        )
    return f"{planned.images} images of {steps} steps in {processes} processes"


def _how_long(planned: BenchPlan, device: str) -> str:
    from edgegen.core.units import format_latency

    if device != LOCAL:
        return f"; how long that takes on {device} is not known"
    return f", roughly {format_latency(planned.estimated_s)} by the sizes of the components"


def show_plan(console: Console, planned: BenchPlan, device: str, *, as_json: bool) -> None:
    """Show each process that would run."""
    if as_json:
        # The estimate is for this machine.
        estimated_s = planned.estimated_s if device == LOCAL else None
        told = {"workload": planned.workload, "runs": planned.runs, "estimated_s": estimated_s}
        console.json({"package": planned.identity, "device": device, **told})
        return
    from edgegen.core.units import format_latency

    work = planned.workload
    rows = [
        (
            run.title
            if run.duration_s is None
            else f"{run.title}, for {format_latency(run.duration_s)}",
            run.warmup_images or None,
            run.images if run.duration_s is None else None,
        )
        for run in planned.runs
    ]
    notes = [
        f"{work.width}×{work.height}, {work.drawn}, guidance {work.guidance:g}, "
        f"{work.scheduler}, seed {work.seed}, prompt: {work.prompt or 'none'}",
        f"Roughly {format_latency(planned.estimated_s)}, by the sizes of the components and a "
        "matrix product that was timed just now."
        if device == LOCAL
        else f"How long that takes on {device} is not known.",
    ]
    console.table("Benchmark", ("process", "warm-up images", "images"), rows, notes)


def show(console: Console, analysis: Analysis) -> None:
    """Show a measurement: what must be said first, tables, plots, and what belongs to them."""
    from edgegen.report import table, terminal

    is_terminal = can_redraw(sys.stdout)
    width = shutil.get_terminal_size().columns

    def filled(text: str, indent: str = "") -> str:
        # A command in it can be copied: no word is broken, at a hyphen neither.
        return textwrap.fill(
            text, width, initial_indent=indent, break_long_words=False, break_on_hyphens=False
        )

    def say(text: str) -> None:
        console.print(filled(text) if is_terminal else text)

    def warn(text: str) -> None:
        label = " " * len("warning: ")  # the console writes it in its place
        console.warn(filled(text, label).lstrip() if can_redraw(sys.stderr) else text)

    if analysis.held_back is not None:
        say(analysis.held_back)
        console.print()
    say(terminal.headline(analysis.measurement))
    console.print()
    for sentence in terminal.verdicts(analysis):
        say(sentence)
        console.print()
    for each in terminal.tables(analysis):
        shown = table.fitted(each, width) if is_terminal else each
        console.table(shown.title, shown.columns, table.aligned(shown))
    drawn = terminal.plot(analysis, width=min(width, 120), unicode=_speaks_unicode())
    if drawn:
        console.print(drawn)
        console.print()
    golden = terminal.golden_line(analysis.measurement)
    if golden is not None:
        say(golden)
    for finding in analysis.findings:
        if finding.weight == "warning":
            warn(finding.text)
        else:
            say(finding.text)


def _speaks_unicode() -> bool:
    """Return whether standard output can write Braille and lines."""
    try:
        "⣿┊└".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
