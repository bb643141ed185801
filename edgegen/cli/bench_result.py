"""Where the result of `edgegen bench` goes: tables or JSON on standard output, and files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgegen.cli.console import Console
from edgegen.core.errors import INTERRUPTED_EXIT_CODE

if TYPE_CHECKING:
    from edgegen.core.measurement import Measurement
    from edgegen.measure.components import ComponentTimes
    from edgegen.measure.cut_short import CutShortError


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """Standard output, as tables or as JSON, the files that were asked for, and the history."""

    as_json: bool
    json_file: Path | None
    html_file: Path | None
    into_history: bool = True

    def check(self) -> None:
        """Refuse a file that could not be written after all the measuring.

        Raises ConfigError.
        """
        from edgegen.core.errors import ConfigError

        for path in (self.json_file, self.html_file):
            if path is not None and not path.absolute().parent.is_dir():
                raise ConfigError(
                    f"{path} cannot be written: its folder does not exist.",
                    hint=f"mkdir -p {path.absolute().parent}",
                )

    def write(self, console: Console, measurement: Measurement, pictures: Path) -> None:
        """Show a measurement and write its files; `pictures` is a folder of what it drew."""
        from edgegen.cli import bench_output
        from edgegen.core.codec import dump_json
        from edgegen.core.files import write_atomic
        from edgegen.report.details import pictures_in
        from edgegen.report.html import page
        from edgegen.statistics.analysis import analyse

        if self.json_file is not None:
            write_atomic(self.json_file, dump_json(measurement))
        if self.as_json:
            console.json(measurement)
        if self.html_file is not None or not self.as_json:
            analysis = analyse(measurement)
            if self.html_file is not None:
                drawn = pictures_in(pictures, measurement)
                write_atomic(self.html_file, page(analysis, drawn))
            if not self.as_json:
                bench_output.show(console, analysis)
        for path in (self.json_file, self.html_file):
            if path is not None:
                console.note(f"Written: {path}")
        if self.into_history:
            self._remember(console, measurement)

    def _remember(self, console: Console, measurement: Measurement) -> None:
        """Keep a measurement in the history; what is in the way is a warning."""
        from edgegen.history.keep import keep

        problem = keep(measurement)
        if problem is not None:
            console.warn(
                f"Not in the history: {problem.message} {problem.hint} What was measured is above."
            )

    def write_components(self, console: Console, times: ComponentTimes) -> None:
        """Show what each component took, or write it as JSON."""
        from edgegen.cli.component_times import show
        from edgegen.core.codec import dump_json
        from edgegen.core.files import write_atomic

        if self.json_file is not None:
            write_atomic(self.json_file, dump_json(times))
        if self.as_json:
            console.json(times)
        else:
            show(console, times)

    def end(self, console: Console, cut: CutShortError) -> int:
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
