"""Any result on disk as something to be reported: a choice, evaluations or measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from edgegen.core.codec import decode, load_json_object
from edgegen.core.errors import ConfigError
from edgegen.core.evaluation import Evaluation
from edgegen.core.measurement import Measurement
from edgegen.core.units import counted
from edgegen.report import (
    choice_files,
    html,
    measurements,
    measurements_page,
    plain,
    quality,
    quality_page,
    terminal,
)
from edgegen.report.choice_export import csv as choice_csv
from edgegen.report.choice_export import markdown as choice_markdown
from edgegen.report.choice_files import ChoiceResult
from edgegen.report.choice_text import advice_table, headline, notes, table
from edgegen.report.figure_text import limit_text
from edgegen.report.picture_pairs import PictureFolder
from edgegen.report.table import Table
from edgegen.statistics.analysis import Analysis, analyse

Kind = Literal["choice", "evaluation", "measurement"]

_MARKS: dict[Kind, str] = {"choice": "rows", "evaluation": "suites", "measurement": "runs"}
"""A key that only this kind of file has."""
_FOLDERS = (choice_files.CHOICE, "evaluation.json")
"""What a folder is read by, the first that is there."""


class Report(Protocol):
    """A result that can be written as a page, as Markdown and as CSV, and shown as tables."""

    def page(self) -> str:
        """Return one self-contained HTML page."""

    def markdown(self) -> str:
        """Return Markdown of GitHub's kind."""

    def csv(self) -> str:
        """Return CSV, a row for each candidate, picture or measurement."""

    def tables(self) -> Sequence[tuple[Table, Sequence[str]]]:
        """Return the tables of a terminal, each with what is said below it."""

    def raw(self) -> object:
        """Return what was read, as it is written as JSON."""

    def warnings(self) -> Sequence[str]:
        """Return what is wrong with the files themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceReport:
    """A choice."""

    result: ChoiceResult

    def page(self) -> str:
        """Return the page of the choice."""
        return self.result.page()

    def markdown(self) -> str:
        """Return the outcome, the table and where it is from."""
        return choice_markdown(self.result.choice)

    def csv(self) -> str:
        """Return a row for each candidate."""
        return choice_csv(self.result.choice)

    def tables(self) -> Sequence[tuple[Table, Sequence[str]]]:
        """Return the candidates, and what would help where nothing fits."""
        choice = self.result.choice
        limits = [limit_text(limit) for limit in choice.limits]
        said = [headline(choice), *([f"Limits: {'; '.join(limits)}."] if limits else [])]
        advice = advice_table(choice)
        more = [] if advice is None else [(advice, ())]
        return [(table(choice), (*said, *notes(choice))), *more]

    def raw(self) -> object:
        """Return the choice."""
        return self.result.choice

    def warnings(self) -> Sequence[str]:
        """Return that files which rows name are gone."""
        gone = self.result.missing
        if not gone:
            return ()
        files = counted(len(gone), "file")
        return (f"The report lacks {files} that the choice names: {gone[0]}, for one.",)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """One evaluation, or several."""

    evaluated: tuple[tuple[Evaluation, PictureFolder], ...]

    def page(self) -> str:
        """Return the page of the evaluations."""
        return quality_page.page(self.evaluated)

    def markdown(self) -> str:
        """Return the tables."""
        return plain.markdown_tables("Quality", [shown for shown, _ in self.tables()])

    def csv(self) -> str:
        """Return a row for each picture."""
        return quality.csv([evaluation for evaluation, _ in self.evaluated])

    def tables(self) -> Sequence[tuple[Table, Sequence[str]]]:
        """Return the suites, and the kinds where somebody can tell what is right."""
        named, shared = quality.named([evaluation for evaluation, _ in self.evaluated])
        kinds = quality.kinds_table(named)
        warnings = dict.fromkeys(text for _, one in named for text in one.warnings)
        title = f"All with {shared}." if len(named) > 1 else quality.way_of(named[0][1]).name
        said = [title] if shared or len(named) == 1 else []
        shown = [(quality.suites_table(named), (*said, *warnings))]
        return shown if kinds is None else [*shown, (kinds, ())]

    def raw(self) -> object:
        """Return the evaluation, or all under `evaluations`."""
        found = [evaluation for evaluation, _ in self.evaluated]
        return found[0] if len(found) == 1 else {"evaluations": found}

    def warnings(self) -> Sequence[str]:
        """Return nothing: these are read whole, or not at all."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementReport:
    """One measurement, or several."""

    analyses: tuple[Analysis, ...]

    def page(self) -> str:
        """Return the page of `edgegen bench`, or one of all measurements."""
        if len(self.analyses) == 1:
            return html.page(self.analyses[0])
        return measurements_page.page(self.analyses)

    def markdown(self) -> str:
        """Return the tables."""
        title = terminal.headline(self.analyses[0].measurement)
        if len(self.analyses) > 1:
            title = f"{len(self.analyses)} measurements"
        return plain.markdown_tables(title, [shown for shown, _ in self.tables()])

    def csv(self) -> str:
        """Return a row for each measurement."""
        return measurements.csv(measurements_page.names(self.analyses))

    def tables(self) -> Sequence[tuple[Table, Sequence[str]]]:
        """Return those of one measurement, or all side by side with what differs."""
        if len(self.analyses) == 1:
            analysis = self.analyses[0]
            told = [*terminal.verdicts(analysis), *(it.text for it in analysis.findings)]
            shown = terminal.tables(analysis)
            return [*((each, ()) for each in shown[:-1]), (shown[-1], told)]
        named = measurements_page.names(self.analyses)
        return [(measurements.measured_table(named), measurements.differences(named))]

    def raw(self) -> object:
        """Return the measurement, or all under `measurements`."""
        found = [analysis.measurement for analysis in self.analyses]
        return found[0] if len(found) == 1 else {"measurements": found}

    def warnings(self) -> Sequence[str]:
        """Return nothing: these are read whole, or not at all."""
        return ()


def read_results(places: Sequence[Path]) -> Report:
    """Read a choice, or evaluations, or measurements: files, or folders of a choice or evaluation.

    Raises ConfigError for what is none of them, for several kinds at once, and for several choices.
    """
    files = [_file_of(place) for place in places]
    read = [(file, load_json_object(file)) for file in files]
    kinds = [_kind_of(file, data) for file, data in read]
    if len(set(kinds)) > 1:
        told = ", ".join(
            f"{file} is {_named(kind)}" for file, kind in zip(files, kinds, strict=True)
        )
        raise ConfigError(
            f"These results do not belong in one report: {told}.",
            hint="Give results of one kind, and run it again for the others.",
        )
    match kinds[0]:
        case "choice":
            if len(files) > 1:
                raise ConfigError(
                    f"{len(files)} choices do not fit one report.",
                    hint=f"Give one: edgegen report {files[0].parent}",
                )
            return ChoiceReport(result=choice_files.read(files[0]))
        case "evaluation":
            found = [decode(Evaluation, data, source=str(file)) for file, data in read]
            pictures = [
                PictureFolder(file.parent, evaluation)
                for file, evaluation in zip(files, found, strict=True)
            ]
            return QualityReport(evaluated=tuple(zip(found, pictures, strict=True)))
        case "measurement":
            measured = [decode(Measurement, data, source=str(file)) for file, data in read]
            return MeasurementReport(analyses=tuple(analyse(it) for it in measured))


def _file_of(place: Path) -> Path:
    if not place.is_dir():
        return place
    for name in _FOLDERS:
        if (place / name).is_file():
            return place / name
    raise ConfigError(
        f"{place} holds no result: neither {' nor '.join(_FOLDERS)}.",
        hint="Give the folder that --output named, or a file that bench --json-file wrote.",
    )


def _kind_of(file: Path, data: dict[str, object]) -> Kind:
    for kind, mark in _MARKS.items():
        if mark in data:
            return kind
    raise ConfigError(
        f"{file} is no choice, evaluation or measurement.",
        hint="Give choice.json, evaluation.json, or a file that bench --json-file wrote.",
    )


def _named(kind: Kind) -> str:
    return f"{'an' if kind == 'evaluation' else 'a'} {kind}"
