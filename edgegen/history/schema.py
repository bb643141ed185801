"""The tables of the history, as migrations: the first makes them, the later ones change them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlite_utils import Migrations
from sqlite_utils.db import Database

APPLICATION_ID = 0x6564_6768
"""SQLite's mark of whose file it is, in its header: "edgh"."""


def _measurements(database: Database) -> None:
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(
        """
        CREATE TABLE measurements (
            id INTEGER PRIMARY KEY,
            content_sha256 TEXT NOT NULL UNIQUE,
            added_at TEXT NOT NULL,
            started_at TEXT NOT NULL,
            source TEXT,
            model TEXT NOT NULL,
            weights_sha256 TEXT NOT NULL,
            manifest_sha256 TEXT NOT NULL,
            target TEXT NOT NULL,
            recipe TEXT NOT NULL,
            package_bytes INTEGER NOT NULL,
            device TEXT NOT NULL,
            device_model TEXT,
            device_profile TEXT,
            machine TEXT NOT NULL,
            processor TEXT,
            complete INTEGER NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            steps INTEGER NOT NULL,
            guidance REAL NOT NULL,
            scheduler TEXT NOT NULL,
            providers TEXT NOT NULL,
            threads INTEGER,
            residency TEXT NOT NULL,
            memory_mode TEXT NOT NULL,
            p50_s REAL,
            p90_s REAL,
            peak_memory_bytes INTEGER,
            energy_j REAL,
            json TEXT NOT NULL
        ) STRICT
        """
    )
    for columns in ("weights_sha256, target, recipe", "model", "device", "started_at"):
        name = "measurements_" + columns.replace(", ", "_")
        database.execute(f"CREATE INDEX {name} ON measurements ({columns})")


def _evaluations(database: Database) -> None:
    database.execute(
        """
        CREATE TABLE evaluations (
            id INTEGER PRIMARY KEY,
            content_sha256 TEXT NOT NULL UNIQUE,
            added_at TEXT NOT NULL,
            source TEXT,
            model TEXT NOT NULL,
            weights_sha256 TEXT NOT NULL,
            manifest_sha256 TEXT NOT NULL,
            target TEXT NOT NULL,
            recipe TEXT NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            steps INTEGER NOT NULL,
            guidance REAL NOT NULL,
            json TEXT NOT NULL
        ) STRICT
        """
    )
    database.execute(
        "CREATE INDEX evaluations_weights_sha256_target_recipe"
        " ON evaluations (weights_sha256, target, recipe)"
    )


def _guidance_part(database: Database) -> None:
    for column, whole in (("guidance_start", 0), ("guidance_stop", 1)):
        database.execute(
            f"ALTER TABLE measurements ADD COLUMN {column} REAL NOT NULL DEFAULT {whole}"
        )


def _cache_interval(database: Database) -> None:
    database.execute(
        "ALTER TABLE measurements ADD COLUMN cache_interval INTEGER NOT NULL DEFAULT 1"
    )


def _arithmetic(database: Database) -> None:
    database.execute("ALTER TABLE measurements ADD COLUMN arithmetic TEXT")


def _arithmetic_of_evaluations(database: Database) -> None:
    database.execute("ALTER TABLE evaluations ADD COLUMN arithmetic TEXT")


STEPS: Mapping[str, Callable[[Database], None]] = {
    "0001 measurements": _measurements,
    "0002 evaluations": _evaluations,
    "0003 the part of the steps that is guided": _guidance_part,
    "0004 how many steps share features": _cache_interval,
    "0005 the type of the arithmetic": _arithmetic,
    "0006 the type of the arithmetic of evaluations": _arithmetic_of_evaluations,
}
"""By name, in their order. A file holds the names of those that it has had; none is ever edited."""

MIGRATIONS = Migrations("edgegen")
for _name, _step in STEPS.items():
    MIGRATIONS(name=_name)(_step)
