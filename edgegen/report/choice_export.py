"""A choice as Markdown, to be read, and as CSV, to be computed with."""

from __future__ import annotations

from edgegen.core.choice import Choice
from edgegen.core.figures import FIGURES
from edgegen.report.choice_table import ORIGINS
from edgegen.report.choice_text import (
    advice_table,
    figure_of,
    headline,
    limits_sentence,
    nearest_misses,
    notes,
    shown_figures,
    sorted_rows,
    table,
    verdict,
)
from edgegen.report.plain import CsvCell, code, csv_text, escaped, markdown_table

_UNITS = {
    "bytes": "bytes",
    "seconds": "s",
    "joules": "j",
    "share": "share",
    "ratio": "ratio",
    "decibels": "db",
    "none": "",
}


def markdown(choice: Choice) -> str:
    """Return the outcome, the table of all candidates, and where it is from."""
    parts = [
        f"# Choice for {escaped(choice.device_title)}",
        escaped(headline(choice)),
        f"Limits: {escaped(limits_sentence(choice))}.",
    ]
    misses = nearest_misses(choice)
    if misses:
        lines = [f"- {row.way.name}: {verdict(choice, row)}" for row in misses]
        parts += ["Nearest misses:", "\n".join(f"- {escaped(line[2:])}" for line in lines)]
    advice = advice_table(choice)
    if advice is not None:
        parts += [f"{advice.title}:", markdown_table(advice).rstrip()]
    candidates = table(choice, figures=shown_figures(choice))
    parts += [
        f"## {escaped(candidates.title)}",
        markdown_table(candidates).rstrip(),
        "\n".join(escaped(note) + "  " for note in notes(choice)),
        *(f"> {escaped(text)}" for text in choice.warnings),
        "## Where it is from",
        _provenance(choice),
    ]
    return "\n\n".join(parts) + "\n"


def csv(choice: Choice) -> str:
    """Return a row for each candidate; values are in SI units, and keep all their digits.

    Each figure has its value, both bounds, its origin and its source.
    """
    names = [
        "model",
        "target",
        "recipe",
        "steps",
        "guidance_stop",
        "cache_interval",
        "width",
        "height",
        "standing",
        "verdict",
    ]
    for figure in FIGURES.values():
        unit = f"{figure.name}_{_UNITS[figure.unit]}"
        names += [unit, f"{unit}_low", f"{unit}_high"]
        names += [f"{figure.name}_origin", f"{figure.name}_source"]
    names += ["package", "evaluation", "measurement", "built", "measured"]
    rows = []
    for row in sorted_rows(choice):
        way = row.way
        cells: list[CsvCell] = [way.model, way.target, way.recipe, way.steps, way.guidance_stop]
        cells += [way.cache_interval, way.width, way.height]
        cells += [row.standing, verdict(choice, row)]
        for name in FIGURES:
            it = figure_of(row, name)
            cells += [it.value, it.low, it.high, it.origin, it.source]
        cells += [row.package, row.evaluation, row.measurement, row.built, row.measured]
        rows.append(cells)
    return csv_text(names, rows)


def _provenance(choice: Choice) -> str:
    origins = {figure_of(row, name).origin for row in choice.rows for name in FIGURES}
    versions = ", ".join(f"{name} {value}" for name, value in choice.versions.items())
    lines = [
        f"- Command: {code(choice.command)}",
        f"- Device: {escaped(choice.device_title)}, {escaped(choice.device or 'not here')}",
        f"- Profile: {escaped(choice.profile or 'none')}",
        f"- Started: {escaped(choice.started_at)}",
        f"- Versions: {escaped(versions or 'not recorded')}",
        *(f"- {origin}: {text}" for origin, text in ORIGINS.items() if origin in origins),
    ]
    return "\n".join(lines)
