"""Shows a comparison: the figures and their intervals, and the pictures that got worse."""

from __future__ import annotations

from edgegen.cli.console import Cell, Console
from edgegen.compare.evaluations import HIGHEST_DB
from edgegen.compare.values import CONFIDENCE, Comparison, FigureChange, WorsePicture
from edgegen.report.figure_text import format_value

_SHOWN_PICTURES = 10


def show(console: Console, found: Comparison) -> None:
    """Print the tables of a comparison."""
    before, after = found.old, found.new
    what = f"{before.model}, {before.target}-{before.recipe} and {after.target}-{after.recipe}"
    where = "" if before.device is None else f" on {before.device}"
    columns = ("", "OLD", "NEW", "change", "verdict", f"{100 * CONFIDENCE:.0f} % interval")
    notes = [
        f"OLD is {before.name}, NEW is {after.name}; compared {found.how}.",
        *_unknowns(found),
        *found.notes,
    ]
    console.table(f"{what}{where}", columns, [_row(each) for each in found.changes], notes)
    if found.worse_pictures:
        console.print()
        _show_pictures(console, found)


def _row(change: FigureChange) -> list[Cell]:
    kind = change.kind
    return [
        _title(change),
        format_value(kind, change.old),
        format_value(kind, change.new),
        None if change.change is None else _signed(change.change, change),
        change.verdict,
        _interval(change),
    ]


def _unknowns(found: Comparison) -> list[str]:
    """Return why figures are unknown, a sentence a reason."""
    reasons: dict[str, list[str]] = {}
    for change in found.changes:
        if change.verdict == "unknown":
            reasons.setdefault(change.why, []).append(_title(change))
    return [f"Unknown: {', '.join(titles)}: {why}." for why, titles in reasons.items()]


def _title(change: FigureChange) -> str:
    if change.suite is not None:
        return f"{change.kind.title} ({change.suite})"
    return "latency (median)" if change.figure == "latency" else change.kind.title


def _interval(change: FigureChange) -> str | None:
    if change.low is None or change.high is None:
        return None
    if change.low == change.high:
        return "the same in all" if change.kind.of_quality else "exact"
    return f"{_signed(change.low, change)} … {_signed(change.high, change)}"


def _signed(value: float, change: FigureChange) -> str:
    """Write a change with its sign: `+4.1 %`, `-0.8 dB`, `-0.012`."""
    if change.is_relative:
        return f"{100 * value:+.1f} %"
    return f"{value:+.1f} dB" if change.kind.unit == "decibels" else f"{value:+.3f}"


def _show_pictures(console: Console, found: Comparison) -> None:
    shown = found.worse_pictures[:_SHOWN_PICTURES]
    rows: list[list[Cell]] = [
        [
            "(no prompt)" if each.prompt is None else each.prompt,
            each.seed,
            each.suite,
            _decibels(each.old_psnr_db),
            _decibels(each.new_psnr_db),
            _complaint(each),
        ]
        for each in shown
    ]
    more = len(found.worse_pictures) - len(shown)
    notes = [f"{more} more are in the JSON (--json)."] if more else []
    title = f"Pictures that got worse, of {found.pictures}"
    console.table(title, ("prompt", "seed", "suite", "OLD", "NEW", "what"), rows, notes)


def _complaint(picture: WorsePicture) -> str:
    if picture.fault is not None:
        return picture.fault
    if picture.lost:
        return f"no longer right: {', '.join(picture.wrong)}" if picture.wrong else "not right"
    return "further from the reference"


def _decibels(value: float | None) -> str | None:
    if value is None:
        return None
    return f"≥ {value:.0f} dB" if value >= HIGHEST_DB else f"{value:.1f} dB"
