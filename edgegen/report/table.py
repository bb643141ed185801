"""A table of texts, as the terminal and the page show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

_LEAST_NEEDED = ("MAD", "min", "p99", "by process", "max", "p90", "part of", "from")
"""Columns that a narrow terminal leaves out, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of texts; columns are figures, aligned on the right.

    The first column and those whose names are in `words` are aligned on the left.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[str, ...] = ()

    def is_figure(self, column: int) -> bool:
        """Return whether a column is aligned on the right."""
        return column > 0 and self.columns[column] not in self.words


def fitted(table: Table, width: int) -> Table:
    """Leave out what is least needed until the table fits a terminal of `width` columns.

    Each column takes three more than its text (padding and a rule). The page and the raw samples
    keep everything.
    """
    for name in _LEAST_NEEDED:
        widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
        if sum(widths) + 3 * len(widths) + 1 <= width or name not in table.columns:
            continue
        place = table.columns.index(name)
        table = replace(
            table,
            columns=table.columns[:place] + table.columns[place + 1 :],
            rows=tuple(row[:place] + row[place + 1 :] for row in table.rows),
        )
    return table


def aligned(table: Table) -> Sequence[tuple[str, ...]]:
    """Return the rows with their figures padded on the left, so that they line up."""
    widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
    return [
        tuple(
            cell.rjust(widths[i]) if table.is_figure(i) else cell.strip()
            for i, cell in enumerate(row)
        )
        for row in table.rows
    ]
