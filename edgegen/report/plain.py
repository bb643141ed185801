"""Tables as Markdown and CSV, which other programs render: nothing in them is taken for markup."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from edgegen.report.table import Table

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~!&])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

CsvCell = str | float | int | bool | None


def markdown_table(table: Table) -> str:
    """Return a table of GitHub's Markdown; figures stand on the right."""
    rule = ["---:" if table.is_figure(place) else "---" for place in range(len(table.columns))]
    lines = [[escaped(cell) for cell in row] for row in (table.columns, *table.rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (lines[0], rule, *lines[1:]))


def markdown_tables(title: str, tables: Sequence[Table]) -> str:
    """Return a page of Markdown: a heading, and tables under theirs."""
    parts = [f"# {escaped(title)}"]
    parts += [f"## {escaped(it.title)}\n\n{markdown_table(it).rstrip()}" for it in tables]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Return a text on one line that Markdown shows as it is."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """Return a text as Markdown's code, whatever backticks it has."""
    line = " ".join(text.split())
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {line} {fence}" if longest else f"`{line}`"


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[CsvCell]]) -> str:
    """Return CSV (RFC 4180); unknown cells are empty.

    A text that a spreadsheet would compute (`=…`) gets an apostrophe before it.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: CsvCell) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return repr(value)
