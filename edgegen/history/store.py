"""The history: every measurement in one SQLite file in the state folder, raw and by columns.

Several processes may write at once: the file is in WAL mode, and a writer waits for the others.
What is in it is never changed or removed. A file that is damaged, that is something else's or that
a later edgegen wrote is refused and left as it is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgegen.core.codec import decode, parse_json_object
from edgegen.core.evaluation import Evaluation
from edgegen.core.folders import state_folder
from edgegen.core.measurement import Measurement, PackageIdentity, Workload
from edgegen.history.file import connect, damaged, transaction, translated
from edgegen.history.record import EvaluationRecord, Query, Record, same_work
from edgegen.history.rows import (
    COLUMNS,
    EVALUATION_COLUMNS,
    condition_of,
    evaluation_record_of,
    evaluation_row_of,
    given,
    record_of,
    row_of,
    wants_evaluations,
)

SWITCH = "EDGEGEN_HISTORY"
"""The environment variable that keeps measurements out of the history where it is 0."""


def is_on() -> bool:
    """Return whether measurements are kept: unless EDGEGEN_HISTORY is 0."""
    return os.environ.get(SWITCH) != "0"


def is_of_the_package(result: Measurement | Evaluation) -> bool:
    """Return whether a result says something of its package, and not of LoRAs that it was given.

    The history knows packages by their manifests, which don't name those: it holds no other.
    """
    loras = result.loras if isinstance(result, Evaluation) else result.workload.loras
    return not loras


def default_path() -> Path:
    """Return where the history is; it need not exist."""
    return state_folder() / "history.sqlite"


class History:
    """The history in one file; a context manager. Used by one thread."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path | None = None, *, write: bool = False) -> Self:
        """Open the history, with its tables brought up to date.

        Where there is none it is empty, and only with `write` is a file made.
        Raises IntegrityError where the file is damaged or something else's, ConfigError where a
        later edgegen wrote it, ResourceError where it cannot be read or written.
        """
        path = path or default_path()
        return cls(path, connect(path, write=write))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def add(self, measurement: Measurement, *, source: str | None = None) -> bool:
        """Add a measurement; return False where it was there already.

        `source` is the name of the file that it comes from, where it was made elsewhere.
        """
        return self.add_all([measurement], source=source) == 1

    def add_all(
        self,
        measurements: Iterable[Measurement],
        evaluations: Iterable[Evaluation] = (),
        *,
        source: str | None = None,
    ) -> int:
        """Add measurements and evaluations, all or none, and return how many were new.

        What isn't of the package (`is_of_the_package`) is left out.
        """
        measurements = filter(is_of_the_package, measurements)
        evaluations = filter(is_of_the_package, evaluations)
        rows = [("measurements", row_of(each, source)) for each in measurements]
        rows += [("evaluations", evaluation_row_of(each, source)) for each in evaluations]
        with transaction(self._connection, self.path):
            return sum(self._insert(table, row) for table, row in rows)

    def add_evaluation(self, evaluation: Evaluation, *, source: str | None = None) -> bool:
        """Add what was found of a package's pictures; return False where it was there already."""
        return self.add_all([], [evaluation], source=source) == 1

    def find(self, query: Query) -> tuple[Record, ...]:
        """Return the records that a query wants, the latest first."""
        condition, values = condition_of(query)
        with translated(self.path):
            rows = self._connection.execute(
                f"SELECT {', '.join(COLUMNS)} FROM measurements"  # noqa: S608 - names of fields
                f" WHERE {condition} ORDER BY started_at DESC, id DESC",
                values,
            ).fetchall()
        return tuple(record_of(row) for row in rows)

    def latest_for(
        self,
        package: PackageIdentity | Query,
        workload: Workload | None = None,
        *,
        device_model: str | None = None,
        device_profile: str | None = None,
    ) -> Record | None:
        """Return the latest complete record of what takes as long on the same kind of device.

        A package is known by its weights, target and recipe; a query says more or less. Without a
        workload any is taken: look at the record's. Whatever is found was measured elsewhere, or
        earlier.
        """
        if isinstance(package, PackageIdentity):
            package = Query(
                weights_sha256=package.weights_sha256, target=package.target, recipe=package.recipe
            )
        wanted = {} if workload is None else given(same_work(workload))
        wanted |= {"device_model": device_model, "device_profile": device_profile}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        found = self.find(dataclasses.replace(package, complete=True, **wanted))
        return found[0] if found else None

    def measurement(self, record: Record) -> Measurement:
        """Return the raw samples of a record.

        Raises IntegrityError where they are not what was added.
        """
        raw = self._raw("measurements", record.content_sha256)
        return decode(Measurement, raw, source=str(self.path))

    def find_evaluations(self, query: Query) -> tuple[EvaluationRecord, ...]:
        """Return the records of the evaluations that a query wants, the latest kept first.

        Raises IntegrityError where one is not what was added.
        """
        if not wants_evaluations(query):
            return ()
        condition, values = condition_of(query, moment_in="added_at")
        with translated(self.path):
            rows = self._connection.execute(
                f"SELECT {', '.join(EVALUATION_COLUMNS)} FROM evaluations"  # noqa: S608 - as above
                f" WHERE {condition} ORDER BY added_at DESC, id DESC",
                values,
            ).fetchall()
        return tuple(
            evaluation_record_of(row, self._evaluation(row["content_sha256"])) for row in rows
        )

    def evaluation(self, record: EvaluationRecord) -> Evaluation:
        """Return an evaluation with its pictures; raises what `measurement` raises."""
        return self._evaluation(record.content_sha256)

    def _evaluation(self, content_sha256: str) -> Evaluation:
        raw = self._raw("evaluations", content_sha256)
        return decode(Evaluation, raw, source=str(self.path))

    def _raw(self, table: str, content_sha256: str) -> dict[str, Any]:
        with translated(self.path):
            row = self._connection.execute(
                f"SELECT json FROM {table} WHERE content_sha256 = ?",  # noqa: S608 - our own name
                (content_sha256,),
            ).fetchone()
        text = "" if row is None else row["json"]
        if hashlib.sha256(text.encode()).hexdigest() != content_sha256:
            raise damaged(self.path, "what it holds is not what was added")
        return parse_json_object(text, source=str(self.path))

    def _insert(self, table: str, row: dict[str, Any]) -> int:
        """Insert a row unless its content is there; return how many were inserted."""
        names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
        return self._connection.execute(
            f"INSERT INTO {table} ({names}) VALUES ({places})"  # noqa: S608 - our own names
            " ON CONFLICT (content_sha256) DO NOTHING",
            row,
        ).rowcount
