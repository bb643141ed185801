"""The tables that grow while a stage runs: a row for each report, or for each score."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path


def append_row(path: Path, header: Iterable[object], row: Iterable[object]) -> None:
    """Add a row to a table, under a header where the table begins."""
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        if file.tell() == 0:
            writer.writerow(header)
        writer.writerow(row)


def drop_rows_after(path: Path, step: int) -> None:
    """Remove the rows of later steps, which a stage that goes on after `step` writes again."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    kept = [*rows[:1], *(row for row in rows[1:] if int(row[0]) <= step)]
    if len(kept) == len(rows):
        return
    beside = path.with_name(f"{path.name}.part")
    with beside.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(kept)
    beside.replace(path)
