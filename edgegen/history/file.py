"""The file of the history: opened, brought up to date, locked for a writer, never repaired."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from sqlite_utils import Database

from edgegen.core.errors import ConfigError, IntegrityError, ResourceError
from edgegen.core.regular_files import check_regular
from edgegen.history.schema import APPLICATION_ID, MIGRATIONS, STEPS

WAIT_S = 30.0
"""A writer waits for others for this long."""

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open the file with its tables brought up to date; without `write`, none is made.

    Raises what `History.open` raises.
    """
    with translated(path):
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
        if exists := path.exists():
            check_regular(path)  # to open a pipe would be to wait
        place = str(path) if write or exists else ":memory:"
        connection = sqlite3.connect(place, timeout=WAIT_S, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Do all that follows, or nothing; other writers wait."""
    with translated(path), _immediate(connection):
        yield


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Check whose file it is and bring its tables up to date, one process after the other."""
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and mark != APPLICATION_ID:
        raise IntegrityError(
            f"{path} is an SQLite file of something else.",
            hint="It was left as it is. Move it away, and retry.",
        )
    database = Database(connection, execute_plugins=False)
    applied = {each.name for each in MIGRATIONS.applied(database)}
    if applied - STEPS.keys():
        raise ConfigError(
            f"{path} is of a later version of edgegen.",
            hint="Update edgegen, or keep this one's history elsewhere: set EDGEGEN_STATE_DIR.",
        )
    if STEPS.keys() - applied:
        _to_wal(connection)
        with _immediate(connection):
            MIGRATIONS.apply(database)


def _to_wal(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work at once; another process may be doing the same."""
    until = time.monotonic() + WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:  # the busy handler is not asked here
            if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() > until:
                raise
            time.sleep(0.02)


@contextlib.contextmanager
def _immediate(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold the write lock from the start, so that a reader's snapshot need not be upgraded."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours; nothing is repaired or removed."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGED:
            raise damaged(path, str(error)) from error
        if code in _BUSY:
            raise ResourceError(
                f"{path} has been in use by another process for {WAIT_S:.0f} s.",
                hint="Retry when that has ended.",
            ) from error
        raise ResourceError(
            f"The history {path} cannot be used: {error}.",
            hint="Free space or correct its permissions; EDGEGEN_STATE_DIR chooses another folder.",
        ) from error
    except OSError as error:
        raise ResourceError(
            f"The history {path} cannot be used: {error.strerror}.",
            hint="Correct its permissions; EDGEGEN_STATE_DIR chooses another folder.",
        ) from error


def damaged(path: Path, why: str) -> IntegrityError:
    return IntegrityError(
        f"The history {path} is damaged: {why}.",
        hint=f"It was left as it is. Save what can be read: sqlite3 {path} .recover | sqlite3 "
        "recovered.sqlite. Then move it away; a new one is begun.",
    )
