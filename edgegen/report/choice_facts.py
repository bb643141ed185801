"""What a choice measured, and what is needed to judge its figures or to find them again."""

from __future__ import annotations

from collections.abc import Mapping

from edgegen.core.choice import Choice, Row
from edgegen.core.evaluation import Evaluation
from edgegen.core.measurement import Measurement
from edgegen.core.units import MISSING
from edgegen.report import blocks
from edgegen.report.blocks import explain, section, table_markup
from edgegen.report.choice_table import sources
from edgegen.report.choice_text import sorted_rows, spent_sentence
from edgegen.report.figure_text import limit_text
from edgegen.report.measurements import measured_table
from edgegen.report.sustained_page import sustained_section
from edgegen.report.svg import Markup, element, join
from edgegen.report.table import Table
from edgegen.statistics.analysis import Analysis, analyse

_MOST_SUSTAINED = 4
_SHORT_HASH = 12


def measured(choice: Choice, measurements: Mapping[str, Measurement]) -> list[Markup]:
    """Return the table of what was measured, and the sustained runs; nothing without any."""
    found = [
        (row, analyse(measurements[row.measurement]))
        for row in sorted_rows(choice)
        if row.measurement is not None and row.measurement in measurements
    ]
    if not found:
        return []
    said = "Latency is that of a steady image: text, all steps, decode. Memory is PSS."
    return [
        section(
            "Measured",
            explain(said),
            table_markup(measured_table([(row.way.name, it) for row, it in found])),
        ),
        *_sustained(found),
    ]


def provenance(
    choice: Choice, evaluations: Mapping[str, Evaluation], measurements: Mapping[str, Measurement]
) -> Markup:
    """Return what the choice was asked for, ran with and took, and the hashes of its packages."""
    limits = "; ".join(f"{limit_text(it)} ({it.origin})" for it in choice.limits)
    rows = [
        ("Command", element("code", choice.command)),
        ("Device", choice.device_title),
        ("Address", choice.device or "not here"),
        ("Profile", choice.profile or MISSING),
        ("Limits", limits or "none"),
        ("Started", choice.started_at),
        *([("Interrupted", choice.interrupted)] if choice.interrupted is not None else []),
        ("Spent", spent_sentence(choice)),
        ("Versions", ", ".join(f"{name} {value}" for name, value in choice.versions.items())),
        *(
            (f"Figures {origin}", join([element("div", text) for text in texts]))
            for origin, texts in _sources_by_origin(choice).items()
        ),
    ]
    content = [blocks.facts(rows)]
    hashes = _hashes(choice, evaluations, measurements)
    if hashes.rows:
        content.append(element("details", element("summary", hashes.title), table_markup(hashes)))
    return section("Where it is from", *content)


def _sources_by_origin(choice: Choice) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for origin, text in sources(choice):
        found.setdefault(origin, []).append(text)
    return found


def _sustained(found: list[tuple[Row, Analysis]]) -> list[Markup]:
    drawn = [
        (row, analysis, run)
        for row, analysis in found
        if analysis.timings is not None
        for run in analysis.timings.sustained
    ]
    shown = []
    for row, analysis, run in drawn[:_MOST_SUSTAINED]:
        energies = () if analysis.timings is None else analysis.timings.energies
        start = analysis.measurement.start_temperature
        shown.append(sustained_section(run, start, energies, of=row.way.name))
    if len(drawn) > _MOST_SUSTAINED:
        shown.append(explain(f"{len(drawn) - _MOST_SUSTAINED} more sustained runs are in files."))
    return shown


def _hashes(
    choice: Choice, evaluations: Mapping[str, Evaluation], measurements: Mapping[str, Measurement]
) -> Table:
    rows = []
    for row in sorted_rows(choice):
        evaluation = evaluations.get(row.evaluation or "")
        measurement = measurements.get(row.measurement or "")
        identity = evaluation if measurement is None else measurement.package
        if identity is None:
            continue
        rows.append(
            (
                row.way.name,
                identity.manifest_sha256[:_SHORT_HASH],
                identity.weights_sha256[:_SHORT_HASH],
                "this run" if row.built else "the cache",
                row.package or MISSING,
            )
        )
    columns = ("candidate", "manifest", "weights", "built by", "folder")
    return Table(
        title=f"Packages: the first {_SHORT_HASH} digits of their SHA-256",
        columns=columns,
        rows=tuple(rows),
        words=columns,
    )
