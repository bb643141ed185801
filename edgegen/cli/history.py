"""`edgegen history`: what was measured before, here and by others."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.command import VERBOSE, Command
from edgegen.cli.console import Cell, Console
from edgegen.cli.text import TEXT
from edgegen.cli.typed_options import refuse_typed

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgegen.history.record import EvaluationRecord, Record

_FILE = click.Path(path_type=Path, dir_okay=False)
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


class _Since(click.ParamType[datetime]):
    """A moment: so long ago (`12h`, `30d`, `8w`), or a day or a moment in ISO 8601."""

    name = "since"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the moment, or fail with the forms that are known."""
        ago = re.fullmatch(r"(\d{1,5})([hdw])", value)
        try:
            if ago:
                return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            when = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(f"'{value}' is no moment; write 12h, 30d, 8w or 2026-01-31.", param, ctx)
        return when if when.tzinfo else when.replace(tzinfo=UTC)


def _query_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose measurements."""
    for option in (
        click.option(
            "--since", type=_Since(), metavar="WHEN", help="Not before: 12h, 30d, 2026-01-31."
        ),
        click.option(
            "--device",
            "-d",
            type=TEXT,
            metavar="TEXT",
            help="A part of the device's address, model, profile or processor.",
        ),
        click.option("--model", type=TEXT, metavar="TEXT", help="A part of the model's name."),
    ):
        function = option(function)
    return function


@click.group(invoke_without_command=True, params=[VERBOSE])
@_query_options
@click.option("--json", "as_json", is_flag=True, help="Write the records as JSON.")
@click.pass_context
def history(context: click.Context, /, as_json: bool, **wanted: Any) -> None:
    """List what was measured, the latest first; `bench` and `evaluate` add to it by themselves.

    It is one SQLite file in the state folder, and nothing of it is uploaded. EDGEGEN_HISTORY=0
    keeps results out.
    """
    if context.invoked_subcommand is not None:
        if as_json or any(value is not None for value in wanted.values()):
            raise click.UsageError(
                f"Options come after '{context.invoked_subcommand}'.", ctx=context
            )
        return
    from edgegen.history.record import Query
    from edgegen.history.store import History

    console = context.find_object(Console) or Console()
    with History.open() as kept:
        records = kept.find(Query(**wanted))
        evaluated = kept.find_evaluations(Query(**wanted))
        if as_json:
            found = {"records": records, "evaluations": evaluated}
            console.json({"file": str(kept.path), **found})
            return
        if not records and not evaluated:
            console.print(f"Nothing of that was measured yet. The file would be {kept.path}.")
        if records:
            _show(console, records, kept.path)
        if evaluated:
            if records:
                console.print()
            _show_evaluations(console, evaluated, kept.path)


@history.command(
    "import",
    cls=Command,
    short_help="Add the results of others.",
    examples=("edgegen history import theirs.json", "edgegen history import lab/*.jsonl"),
    ends_with=("IntegrityError", "ResourceError"),
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Write what was added as JSON.")
@click.pass_obj
def import_(console: Console, files: tuple[Path, ...], as_json: bool) -> None:
    """Add FILEs: what `bench --json-file`, `evaluate` or `history export` wrote elsewhere.

    All that is added says which file it came from. What is there already is left out, and what was
    drawn with LoRAs that a package was given. A file that holds anything else is refused whole.
    """
    from edgegen.history.exchange import import_file
    from edgegen.history.store import History

    with History.open(write=True) as kept:
        done = [import_file(kept, file) for file in files]
    if as_json:
        console.json({"files": done})
        return
    for each in done:
        text = f"{each.file}: {each.added} added, {each.known} were there already"
        if each.left_out:
            text += f", {each.left_out} left out: drawn with LoRAs that their package was given"
        console.print(f"{text}.")


@history.command(
    "export",
    cls=Command,
    short_help="Write results to a file, or to MLflow.",
    examples=(
        "edgegen history export mine.jsonl --since 30d",
        "edgegen history export --mlflow http://localhost:5000 --model scenes",
    ),
    ends_with=("MissingDependencyError", "IntegrityError", "ResourceError"),
)
@click.argument("file", type=_FILE, required=False)
@_query_options
@click.option(
    "--mlflow", "uri", type=TEXT, metavar="URI", help="Make runs there, by MLflow's own client."
)
@click.option(
    "--experiment",
    type=TEXT,
    default="edgegen",
    show_default=True,
    help="The experiment of MLflow that they go into.",
)
@click.option("--json", "as_json", is_flag=True, help="Write how many there were as JSON.")
@click.pass_context
def export_(
    context: click.Context,
    /,
    file: Path | None,
    uri: str | None,
    experiment: str,
    as_json: bool,
    **wanted: Any,
) -> None:
    """Write results, raw, to FILE: JSON Lines that `edgegen history import` reads.

    With --device only measurements: an evaluation has no device. With --mlflow each measurement
    becomes a run, with its figures, every image and the raw samples. Look before
    you give them away: they have prompts, the names of models and the addresses of devices.
    """
    from edgegen.history.record import Query
    from edgegen.history.store import History

    if (file is None) == (uri is None):
        raise click.UsageError("Give a FILE or --mlflow URI, and not both.")
    if uri is None:
        refuse_typed(context, ("experiment",), "a FILE has no experiments; --mlflow has.")
    console = context.find_object(Console) or Console()
    query = Query(**wanted)
    with History.open() as kept:
        if uri is not None:
            from edgegen.history.mlflow_export import export_to_mlflow

            done = export_to_mlflow(kept, query, uri, experiment)
            if as_json:
                console.json(done)
            else:
                console.print(f"MLflow: {done.added} runs made, {done.known} were there already.")
            return
        from edgegen.history.exchange import export

        assert file is not None
        written = export(kept, query, file)
    if as_json:
        console.json(written)
    else:
        counts = {"measurement": written.measurements, "evaluation": written.evaluations}
        told = [f"{n} {kind}{'s' if n != 1 else ''}" for kind, n in counts.items() if n]
        console.print(f"{file}: {' and '.join(told) or 'nothing'}.")


def _drawn(record: Record | EvaluationRecord) -> str:
    computed = "" if record.arithmetic is None else f", {record.arithmetic}"
    return f"{record.width}×{record.height}, {record.steps} steps{computed}"


def _show(console: Console, records: tuple[Record, ...], path: Path) -> None:
    from edgegen.core.units import format_bytes, format_joules, format_latency

    columns = ("measured", "model", "package", "drawn", "device", "p50", "p90", "memory", "energy")
    rows: list[list[Cell]] = [
        [
            f"{each.started_at[:10]} {each.started_at[11:16]}",
            each.model,
            f"{each.target}-{each.recipe}",
            _drawn(each),
            each.device_title,
            format_latency(each.p50_s),
            format_latency(each.p90_s),
            format_bytes(each.peak_memory_bytes),
            format_joules(each.energy_j),
            "here" if each.source is None else each.source,
        ]
        for each in records
    ]
    notes = [f"{len(records)} in {path}; moments are UTC."]
    if not all(each.complete for each in records):
        notes.append("Some were quick, cut short, or emulated; --json says which.")
    console.table("Measured", (*columns, "from"), rows, notes)


def _show_evaluations(console: Console, records: tuple[EvaluationRecord, ...], path: Path) -> None:
    from edgegen.core.figures import FIGURES
    from edgegen.report.figure_text import format_value

    columns = ("kept", "model", "package", "drawn", "suite", "pictures", "right", "PSNR", "SSIM")
    rows: list[list[Cell]] = []
    for each in records:
        for suite in each.suites:
            means = {name: spread.mean for name, spread in suite.metrics.items()}
            rows.append(
                [
                    f"{each.added_at[:10]} {each.added_at[11:16]}",
                    each.model,
                    f"{each.target}-{each.recipe}",
                    _drawn(each),
                    suite.suite,
                    suite.pictures,
                    format_value(FIGURES["right"], suite.right),
                    format_value(FIGURES["psnr"], means.get("psnr")),
                    format_value(FIGURES["ssim"], means.get("ssim")),
                    "here" if each.source is None else each.source,
                ]
            )
    notes = [f"{len(records)} in {path}; moments are UTC. A suite is a row."]
    console.table("Evaluated", (*columns, "from"), rows, notes)
