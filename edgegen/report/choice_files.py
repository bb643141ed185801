"""Reads the folder of a choice, and writes its reports beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgegen.core.choice import Choice
from edgegen.core.codec import load_json
from edgegen.core.evaluation import Evaluation
from edgegen.core.files import inside, write_atomic
from edgegen.core.measurement import Measurement
from edgegen.report.choice_export import csv, markdown
from edgegen.report.choice_page import page
from edgegen.report.picture_pairs import PictureFolder

CHOICE = "choice.json"
PAGE, MARKDOWN, CSV = "report.html", "report.md", "report.csv"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceResult:
    """A choice with what its rows name; `missing` are files that are not there any more."""

    choice: Choice
    evaluations: Mapping[str, Evaluation]
    measurements: Mapping[str, Measurement]
    pictures: Mapping[str, PictureFolder]
    missing: tuple[str, ...]

    def page(self) -> str:
        """Return the page."""
        return page(self.choice, self.evaluations, self.measurements, self.pictures)


def read(place: Path) -> ChoiceResult:
    """Read `choice.json`, given it or its folder, and the files that its rows name.

    Raises ConfigError where a file isn't what it should be, and IntegrityError where a row names
    one outside of the folder.
    """
    file = place / CHOICE if place.is_dir() else place
    choice, folder = load_json(Choice, file), file.parent
    missing: list[str] = []
    named = {row.evaluation for row in choice.rows} - {None}
    evaluations = _read_all(Evaluation, folder, named, missing)
    measured = {row.measurement for row in choice.rows} - {None}
    measurements = _read_all(Measurement, folder, measured, missing)
    pictures = {
        name: PictureFolder(inside(folder, name).parent, evaluation)
        for name, evaluation in evaluations.items()
    }
    return ChoiceResult(
        choice=choice,
        evaluations=evaluations,
        measurements=measurements,
        pictures=pictures,
        missing=tuple(missing),
    )


def write(folder: Path) -> tuple[Path, ...]:
    """Write the page, Markdown and CSV of the choice in a folder; return their paths."""
    result = read(folder)
    written = {PAGE: result.page(), MARKDOWN: markdown(result.choice), CSV: csv(result.choice)}
    for name, text in written.items():
        write_atomic(folder / name, text)
    return tuple(folder / name for name in written)


def _read_all(
    kind: type[T], folder: Path, names: set[str | None], missing: list[str]
) -> dict[str, T]:
    found = {}
    for name in sorted(filter(None, names)):
        path = inside(folder, name)
        if not path.exists():
            missing.append(name)
            continue
        found[name] = load_json(kind, path)
    return found
