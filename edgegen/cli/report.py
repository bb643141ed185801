"""`edgegen report`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgegen.cli.command import command
from edgegen.cli.console import Console

if TYPE_CHECKING:
    from edgegen.report.results import Report

_FILE = click.Path(path_type=Path, dir_okay=False)
_FORMATS: Mapping[str, str] = {
    ".html": "page",
    ".htm": "page",
    ".md": "markdown",
    ".markdown": "markdown",
    ".csv": "csv",
}
"""What a file's suffix asks for; the name of a method of `Report`."""


@command(
    examples=(
        "edgegen report out/choice",
        "edgegen report out/choice -o choice.html --markdown choice.md",
        "edgegen report first.json second.json -o measurements.html",
        "edgegen report out/quality/evaluation.json -o quality.html --csv pictures.csv",
    ),
    ends_with=("IntegrityError", "ResourceError"),
)
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=_FILE,
    metavar="FILE",
    help="Write a page (.html), Markdown (.md) or CSV (.csv), by the file's suffix.",
)
@click.option("--markdown", "markdown_file", type=_FILE, metavar="FILE", help="Write Markdown.")
@click.option("--csv", "csv_file", type=_FILE, metavar="FILE", help="Write CSV.")
@click.option("--json", "as_json", is_flag=True, help="Write what was read as one JSON object.")
@click.pass_obj
def report(
    console: Console,
    results: tuple[Path, ...],
    output: Path | None,
    markdown_file: Path | None,
    csv_file: Path | None,
    as_json: bool,
) -> None:
    """Show RESULTS as tables, or write them to files.

    RESULTS are one choice (its folder or choice.json), evaluations (evaluation.json or its folder),
    or measurements (files of bench --json-file). Several are laid side by side. A page is one file
    that loads nothing. With a file to write, nothing is shown.
    """
    from edgegen.core.files import write_atomic
    from edgegen.report.results import read_results

    wanted = _wanted(output, markdown_file, csv_file)
    found = read_results(results)
    for text in found.warnings():
        console.warn(text)
    if as_json:
        console.json(found.raw())
    elif not wanted:
        _show(console, found)
    makes: Mapping[str, Callable[[], str]] = {
        "page": found.page,
        "markdown": found.markdown,
        "csv": found.csv,
    }
    for path, name in wanted.items():
        write_atomic(path, makes[name]())
        console.note(f"Written: {path}")


def _wanted(
    output: Path | None, markdown_file: Path | None, csv_file: Path | None
) -> dict[Path, str]:
    """Return what goes into which file.

    Raises ConfigError for a suffix that says nothing, a file named twice, and a missing folder.
    """
    from edgegen.core.errors import ConfigError

    pairs: list[tuple[Path, str]] = []
    if output is not None:
        name = _FORMATS.get(output.suffix.lower())
        if name is None:
            raise ConfigError(
                f"{output} does not say what to write.",
                hint=f"Name a file that ends in {', '.join(_FORMATS)}.",
            )
        pairs.append((output, name))
    pairs += [(markdown_file, "markdown")] if markdown_file is not None else []
    pairs += [(csv_file, "csv")] if csv_file is not None else []
    for path, _ in pairs:
        if not path.absolute().parent.is_dir():
            raise ConfigError(
                f"{path} cannot be written: its folder does not exist.",
                hint=f"mkdir -p {path.absolute().parent}",
            )
    if len(dict(pairs)) < len(pairs):
        raise ConfigError("A file is named twice.", hint="Give each its own name.")
    return dict(pairs)


def _show(console: Console, found: Report) -> None:
    from edgegen.report.table import aligned

    for table, notes in found.tables():
        console.table(table.title, table.columns, aligned(table), notes)
