"""What the user sees: the only module that prints, and the only one that imports rich.

Standard output carries results and nothing else; progress, warnings and errors go to standard
error. Everything passes `printable`: foreign text cannot steer the terminal. rich is imported when
there is a terminal to draw on, never before.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TextIO

from edgegen.cli.layout import fit
from edgegen.cli.plain_progress import PlainProgress, PlainStep
from edgegen.cli.printable import printable, printable_json, printable_line
from edgegen.core.progress import Progress, SilentProgress, Unit
from edgegen.core.units import format_amount, format_duration, format_rate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import RenderableType
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

Cell = str | int | float | None

MISSING = "–"
"""What a table shows for None: a figure that is not known is never 0."""
JSON_SCHEMA_VERSION = 1
"""Of what commands write with --json; it changes when a key changes its meaning or goes."""


class Console:
    """Prints results on standard output, and the rest on standard error.

    Colours and bars need a terminal; NO_COLOR takes the colours away, TERM=dumb both, and
    `quiet` leaves only results, warnings and errors. `output` and `errors` stand in for the
    standard streams. `wide` is set by --verbose: tables keep all columns, however wide.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        output: TextIO | None = None,
        errors: TextIO | None = None,
    ) -> None:
        self.quiet = quiet
        self.wide = False
        self._output = output or sys.stdout
        self._errors = errors or sys.stderr

    def print(self, text: str = "") -> None:
        """Print a line of the result as it is, without any markup."""
        self._output.write(printable(text) + "\n")

    def json(self, value: object) -> None:
        """Print a mapping or a dataclass as one JSON object; the result of a command with --json.

        The object has a `schema_version`: the value's own, else `JSON_SCHEMA_VERSION`.
        """
        import json

        from edgegen.core.codec import encode

        encoded = encode(value)
        assert isinstance(encoded, dict), "what --json writes is an object"
        whole = {"schema_version": JSON_SCHEMA_VERSION, **encoded}
        text = json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
        self._output.write(printable_json(text) + "\n")

    def table(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[Cell]],
        notes: Sequence[str] = (),
    ) -> None:
        """Print a table; numbers stand on the right, None is a dash, `notes` come below.

        On a terminal it fits the width: texts are wrapped between words, then columns are left out
        from the right. Elsewhere, and where the console is `wide`, it is text that wraps nothing.
        """
        title, columns = printable_line(title), [printable_line(name) for name in columns]
        cells = [[printable_line(_text_of(cell)) for cell in row] for row in rows]
        right = [
            all(isinstance(row[i], int | float | None) for row in rows) and bool(rows)
            for i in range(len(columns))
        ]
        if can_redraw(self._output) and not self.wide:
            self._terminal_table(title, columns, cells, right)
        else:
            self._output.write(_plain_table(title, columns, cells, right))
        for note in notes:
            self.print(note)

    def lines(self, text: str) -> None:
        """Write on standard error what is neither a note nor an error: help, a traceback."""
        self._errors.write(printable(text.rstrip("\n")) + "\n")

    def note(self, text: str) -> None:
        """Say on standard error what is good to know; `quiet` leaves it out."""
        if not self.quiet:
            self._errors.write(printable(text) + "\n")

    def warn(self, text: str) -> None:
        """Say on standard error what is probably wrong."""
        self._labelled("warning", "33", text)

    def error(self, message: str, hint: str = "") -> None:
        """Say on standard error what failed, and what to do about it."""
        self._labelled("error", "1;31", message)
        if hint:
            self._labelled("hint", "36", hint)

    def picture(self, pixels: NDArray[np.uint8], *, columns: int = 64) -> bool:
        """Draw an image, uint8 (height, width, 3), in half blocks at most `columns` wide.

        Returns False, and draws nothing, where standard output is no terminal with colours.
        """
        if not (can_redraw(self._output) and has_colours(self._output)):
            return False
        from rich.color import Color
        from rich.console import Console as RichConsole
        from rich.style import Style
        from rich.text import Text

        console = RichConsole(file=self._output, highlight=False)
        height, width = pixels.shape[:2]
        columns = max(1, min(columns, width, console.width))
        lines = max(1, round(height * columns / width / 2))
        small = _mean_of_cells(pixels, 2 * lines, columns)
        text = Text()
        for line in range(lines):
            for column in range(columns):
                upper, lower = (
                    Color.from_rgb(*(int(value) for value in small[2 * line + half, column]))
                    for half in (0, 1)
                )
                text.append("▀", Style(color=upper, bgcolor=lower))
            text.append("\n")
        console.print(text, end="")
        return True

    @property
    def progress(self) -> Progress:
        """How a long job shows its progress here: bars on a terminal, else plain lines."""
        if self.quiet:
            return SilentProgress()
        if can_redraw(self._errors):
            return _TerminalProgress(self._errors)
        return PlainProgress(lambda line: _write_line(self._errors, line))

    @contextmanager
    def live(self) -> Iterator[LiveTable | None]:
        """Yield a table that is drawn again and again on standard error; None off a terminal."""
        if self.quiet or not can_redraw(self._errors):
            yield None
            return
        table = LiveTable(self._errors)
        try:
            yield table
        finally:
            table.close()

    def _terminal_table(
        self,
        title: str,
        columns: Sequence[str],
        cells: Sequence[Sequence[str]],
        right: Sequence[bool],
    ) -> None:
        from rich import box
        from rich.cells import cell_len
        from rich.console import Console as RichConsole
        from rich.table import Table
        from rich.text import Text

        room = RichConsole(file=self._output).width
        texts = [[name, *(row[i] for row in cells)] for i, name in enumerate(columns)]
        layout = fit(texts, room - 1, between=3, length=cell_len)
        table = Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD)
        for place, width in zip(layout.columns, layout.widths, strict=True):
            justify: Literal["left", "right"] = "right" if right[place] else "left"
            table.add_column(Text(columns[place]), justify=justify, width=width)
        for row in cells:
            table.add_row(*(Text(row[place]) for place in layout.columns))
        # What is wider than the terminal is one word, which the terminal wraps.
        needed = sum(layout.widths) + 3 * len(layout.widths) + 1
        RichConsole(file=self._output, highlight=False, width=max(room, needed)).print(table)
        left_out = columns[len(layout.columns) :]
        if left_out:
            self.print(f"Left out to fit: {', '.join(left_out)}. All columns: -v")

    def _labelled(self, label: str, colour: str, text: str) -> None:
        start, end = (f"\x1b[{colour}m", "\x1b[0m") if has_colours(self._errors) else ("", "")
        self._errors.write(f"{start}{label}:{end} {printable(text)}\n")
        self._errors.flush()


def can_redraw(stream: TextIO) -> bool:
    """Say whether a stream is a terminal on which a line can be drawn again."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def has_colours(stream: TextIO) -> bool:
    """Say whether colours may be written: a terminal, and no NO_COLOR (https://no-color.org)."""
    return can_redraw(stream) and not os.environ.get("NO_COLOR")


def _text_of(cell: Cell) -> str:
    return MISSING if cell is None else f"{cell:g}" if isinstance(cell, float) else str(cell)


def _plain_table(
    title: str, columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]
) -> str:
    widths = [max(len(row[i]) for row in [columns, *cells]) for i in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, right, strict=True)
        )
        return "  ".join(aligned).rstrip() + "\n"

    rule = "  ".join("-" * width for width in widths) + "\n"
    return f"{title}\n\n" + line(columns) + rule + "".join(map(line, cells)) + "\n"


def _mean_of_cells(pixels: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.float64]:
    import numpy as np

    def edges(size: int, parts: int) -> list[tuple[int, int]]:
        starts = [size * i // parts for i in range(parts)]
        return [(a, max(a + 1, size * (i + 1) // parts)) for i, a in enumerate(starts)]

    height, width = pixels.shape[:2]
    return np.array(
        [
            [
                pixels[top:bottom, left:right].mean(axis=(0, 1))
                for left, right in edges(width, columns)
            ]
            for top, bottom in edges(height, rows)
        ]
    )


def _write_line(stream: TextIO, text: str) -> None:
    stream.write(printable(text) + "\n")
    stream.flush()


class LiveTable:
    """A table on the terminal that is drawn again, with a line below for what is being done.

    It is a `Progress`: the steps of a job are told in that line. It is gone when it is closed.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console as RichConsole
        from rich.live import Live

        self._console = RichConsole(file=stream, highlight=False)
        self._live = Live(console=self._console, transient=True, auto_refresh=False)
        self._table: RenderableType = ""
        self._said = self._step = ""
        self._live.start()

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Draw a table: as many of the first columns and rows as there is room for."""
        from rich import box
        from rich.cells import cell_len
        from rich.table import Table
        from rich.text import Text

        room = max(1, self._console.height - 6)
        cells = [[printable_line(_text_of(cell)) for cell in row] for row in rows[:room]]
        names = [printable_line(name) for name in columns]
        texts = [[name, *(row[i] for row in cells)] for i, name in enumerate(names)]
        layout = fit(texts, self._console.width - 1, between=3, length=cell_len)
        heading = Text(printable_line(title), style="bold")
        table = Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD)
        for place, width in zip(layout.columns, layout.widths, strict=True):
            table.add_column(Text(names[place]), width=width, no_wrap=True, overflow="ellipsis")
        for row in cells:
            table.add_row(*(Text(row[place]) for place in layout.columns))
        self._table = table
        self._draw()

    def say(self, text: str) -> None:
        """Say below the table what is being done."""
        self._said, self._step = printable_line(text), ""
        self._draw()

    @contextmanager
    def step(
        self, name: str, *, total: float | None = None, unit: Unit = "items"
    ) -> Iterator[PlainStep]:
        """Open a step, which is told below the table."""

        def write(line: str) -> None:
            self._step = printable_line(line)
            self._draw()

        write(name)
        yield PlainStep(name, total, unit, write)

    def close(self) -> None:
        """Take the table off the terminal."""
        self._live.stop()

    def _draw(self) -> None:
        from rich.console import Group
        from rich.text import Text

        said = Text(self._said, no_wrap=True, overflow="ellipsis")
        step = Text(self._step, style="dim", no_wrap=True, overflow="ellipsis")
        self._live.update(Group(self._table, said, step), refresh=True)


class _TerminalProgress:
    """Bars of rich; a step that has ended leaves one line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._bars: Bars | None = None
        self._open = 0

    @contextmanager
    def step(
        self, name: str, *, total: float | None = None, unit: Unit = "items"
    ) -> Iterator[_TerminalStep]:
        name = printable_line(name)
        bars = self._enter()
        step = _TerminalStep(bars, name, total, unit)
        mark = "✗"
        try:
            yield step
            mark = "✓"
        finally:
            took = format_duration(time.monotonic() - step.started_s)
            amount = f", {format_amount(step.done, None, unit)}" if step.done else ""
            self._leave(step, f"{mark} {name}  {took}{amount}")

    def _enter(self) -> Bars:
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        with self._lock:
            if self._bars is None:
                self._bars = Bars(
                    TextColumn("{task.description}", markup=False),
                    BarColumn(),
                    TextColumn("{task.fields[share]}", markup=False),
                    TextColumn("{task.fields[amount]}", markup=False),
                    TimeRemainingColumn(elapsed_when_finished=True),
                    TextColumn("{task.fields[text]}", markup=False, style="dim"),
                    console=RichConsole(file=self._stream, highlight=False),
                    transient=True,
                )
                self._bars.start()
            self._open += 1
            return self._bars

    def _leave(self, step: _TerminalStep, line: str) -> None:
        with self._lock:
            self._open -= 1
            step.close(line)
            if self._open == 0 and self._bars is not None:
                self._bars.stop()
                self._bars = None


class _TerminalStep:
    """One bar."""

    def __init__(self, bars: Bars, name: str, total: float | None, unit: Unit) -> None:
        self.total = total
        self.done = 0.0
        self.started_s = time.monotonic()
        self._bars = bars
        self._unit = unit
        self._task: TaskID = bars.add_task(name, total=total, share="", amount="", text="")

    def advance(self, amount: float = 1) -> None:
        self.done += amount
        elapsed_s = time.monotonic() - self.started_s
        rate = format_rate(self.done / elapsed_s, self._unit) if elapsed_s > 0 else ""
        self._bars.update(
            self._task,
            completed=self.done,
            total=self.total,
            share=f"{100 * self.done / self.total:3.0f} %" if self.total else "",
            amount=f"{format_amount(self.done, self.total, self._unit)}  {rate}",
        )

    def describe(self, text: str) -> None:
        self._bars.update(self._task, text=printable_line(text))

    def close(self, line: str) -> None:
        self._bars.remove_task(self._task)
        self._bars.console.print(line, markup=False, highlight=False)
