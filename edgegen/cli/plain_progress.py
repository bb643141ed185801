"""Progress as plain lines, for logs and for terminals that cannot redraw a line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgegen.core.progress import Unit
from edgegen.core.units import format_amount, format_duration, format_rate

LINE_EVERY_S = 10.0
"""A step that takes long writes a line this often."""
LINE_AT_FRACTION = 0.25
"""And one at each quarter, unless the last line is younger than QUIET_S."""
QUIET_S = 1.0


class PlainStep:
    """A step that writes a line now and then."""

    def __init__(
        self, name: str, total: float | None, unit: Unit, write: Callable[[str], None]
    ) -> None:
        self.total = total
        self.done = 0.0
        self._name = name
        self._unit = unit
        self._write = write
        self._text = ""
        self._started_s = self._line_s = time.monotonic()
        self._quarter = 0

    def advance(self, amount: float = 1) -> None:
        """Count `amount` more, and write a line when it is time for one."""
        self.done += amount
        now_s = time.monotonic()
        quarter = int(self.done / self.total / LINE_AT_FRACTION) if self.total else 0
        since_s = now_s - self._line_s
        if since_s < QUIET_S or (since_s < LINE_EVERY_S and quarter <= self._quarter):
            return
        self._line_s, self._quarter = now_s, quarter
        self._write(self._line(now_s - self._started_s))

    def describe(self, text: str) -> None:
        """Keep what is being done for the next line."""
        self._text = text

    def _line(self, elapsed_s: float) -> str:
        rate = self.done / elapsed_s
        parts = [format_amount(self.done, self.total, self._unit), format_rate(rate, self._unit)]
        if self.total:
            parts.insert(0, f"{100 * self.done / self.total:.0f} %")
            if rate > 0 and self.done < self.total:
                left_s = (self.total - self.done) / (1 if self._unit == "seconds" else rate)
                parts.append(f"{format_duration(left_s)} left")
        parts.append(self._text)
        return f"{self._name}: {', '.join(part for part in parts if part)}"


class PlainProgress:
    """Writes when a step begins, now and then while it runs, and when it ends."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    @contextmanager
    def step(
        self, name: str, *, total: float | None = None, unit: Unit = "items"
    ) -> Iterator[PlainStep]:
        """Open a step; see `edgegen.core.progress.Progress`."""
        started_s = time.monotonic()
        self._write(f"{name} …")
        step = PlainStep(name, total, unit, self._write)
        outcome = "failed after"
        try:
            yield step
            outcome = "done in"
        finally:
            elapsed_s = time.monotonic() - started_s
            self._write(f"{name}: {outcome} {format_duration(elapsed_s)}")
