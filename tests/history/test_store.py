"""The history keeps what was measured: by several writers, older and newer files, and damage."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgegen.core.errors import ConfigError, EdgegenError, IntegrityError, ResourceError
from edgegen.core.measurement import Measurement
from edgegen.history import schema
from edgegen.history.record import Query
from edgegen.history.store import History, default_path
from tests.statistics.samples import disturbed, measurement, sustained

USUAL = measurement()


def at(moment: str, original: Measurement = USUAL, **workload: object) -> Measurement:
    """The same measurement at another moment, and of other work."""
    return replace(
        original,
        environment=replace(original.environment, started_at=moment),
        workload=replace(original.workload, **workload),  # type: ignore[arg-type]
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.sqlite"


def test_a_measurement_comes_back_as_it_was(path: Path) -> None:
    with History.open(path, write=True) as history:
        assert history.add(USUAL)
    with History.open(path) as history:
        (record,) = history.find(Query())
        assert history.measurement(record) == USUAL
    latencies = sorted(
        image.latency_s for run in USUAL.of_kind("steady") for image in run.images[1:]
    )
    assert record.p50_s is not None
    assert latencies[0] < record.p50_s < latencies[-1]
    assert record.p90_s is not None
    assert record.p50_s < record.p90_s
    assert record.peak_memory_bytes == 1_310_000_000
    assert (record.energy_j, record.source, record.complete) == (None, None, True)


def test_what_is_there_is_added_once(path: Path) -> None:
    with History.open(path, write=True) as history:
        assert history.add(USUAL)
        assert not history.add(USUAL, source="theirs.json")
        assert [record.source for record in history.find(Query())] == [None]


def test_looking_makes_no_file(path: Path) -> None:
    with History.open(path) as history:
        assert history.find(Query()) == ()
    assert not path.parent.exists()


def test_the_default_place_is_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "mine"))
    with History.open(write=True) as history:
        assert history.path == default_path() == tmp_path / "mine" / "history.sqlite"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(model="TINY"), 2),
        (Query(model="100%"), 0),
        (Query(device="raspberry"), 1),
        (Query(device="ssh://pi"), 1),
        (Query(device="processor 9000"), 1),
        (Query(device_address="ssh://pi"), 0),
        (Query(since=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)), 2),
        (Query(since=datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)), 1),
        (Query(width=512, steps=8, providers=("CPUExecutionProvider",), threads=2), 2),
        (Query(steps=9), 0),
        (Query(model="tiny", device="raspberry"), 1),
    ],
)
def test_records_are_found_by(path: Path, query: Query, found: int) -> None:
    with History.open(path, write=True) as history:
        history.add_all([USUAL, at("2026-03-04T05:06:07+02:00", sustained())])
        records = history.find(query)
    assert len(records) == found
    assert [each.started_at for each in records] == sorted(
        (each.started_at for each in records), reverse=True
    )


def test_the_latest_of_the_same_work_on_the_same_kind_of_device_is_found(path: Path) -> None:
    pi = sustained()
    measured = [
        at("2026-01-01T00:00:00Z", pi),
        at("2026-01-02T00:00:00Z", pi, prompt="something else", seed=7),
        at("2026-01-03T00:00:00Z", pi, steps=20),
        at("2026-01-04T00:00:00Z", replace(pi, quick=True)),
        at("2026-01-05T00:00:00Z", replace(pi, interrupted="Ctrl-C")),
        at("2026-01-06T00:00:00Z", disturbed(pi)),
        at("2026-01-07T00:00:00Z"),
    ]
    with History.open(path, write=True) as history:
        history.add_all(measured)
        found = history.latest_for(pi.package, pi.workload, device_model=pi.environment.model)
        assert found is not None
        assert found.started_at == "2026-01-02T00:00:00+00:00"
        other = history.latest_for(pi.package, pi.workload, device_model="Raspberry Pi 4 Model B")
        assert other is None
        any_work = history.latest_for(Query(target="onnx"), device_model=pi.environment.model)
        assert any_work is not None
        assert any_work.steps == 20


def test_the_runtimes_own_number_of_threads_is_a_number_of_its_own(path: Path) -> None:
    with History.open(path, write=True) as history:
        history.add(at("2026-01-01T00:00:00Z", threads=1))
        default = at("2026-01-02T00:00:00Z", threads=None)
        assert history.latest_for(default.package, default.workload) is None
        history.add(default)
        found = history.latest_for(default.package, default.workload)
        assert found is not None
        assert found.threads is None
        assert len(history.find(Query())) == 2


def test_times_of_an_emulated_processor_are_no_figures(path: Path) -> None:
    with History.open(path, write=True) as history:
        history.add(disturbed(USUAL))
        (record,) = history.find(Query())
    assert (record.p50_s, record.p90_s, record.complete) == (None, None, False)


def test_a_moment_that_is_none_is_refused_and_nothing_is_added(path: Path) -> None:
    with History.open(path, write=True) as history:
        with pytest.raises(ConfigError, match="not a moment"):
            history.add_all([USUAL, at("yesterday")])
        assert history.find(Query()) == ()


ADDS = """
import sys
from dataclasses import replace
from pathlib import Path
from edgegen.history.store import History
from tests.statistics.samples import measurement
usual = measurement(restarts=1, images=1, steps=1)
for index in range(8):
    with History.open(Path(sys.argv[1]), write=True) as history:
        work = replace(usual.workload, seed=index, prompt=sys.argv[2])
        history.add(replace(usual, workload=work))
"""


def test_processes_that_begin_a_history_together_lose_nothing(path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", ADDS, str(path), name], stderr=subprocess.PIPE, text=True
        )
        for name in ("a", "b")
    ]
    for writer in writers:
        _, error = writer.communicate(timeout=60)
        assert writer.returncode == 0, error
    with History.open(path) as history:
        assert len(history.find(Query())) == 16


def test_an_older_file_is_brought_up_to_date_with_what_it_holds(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with History.open(path, write=True) as history:
        history.add(USUAL)
    with monkeypatch.context() as patch:
        patch.setattr(schema.MIGRATIONS, "_migrations", list(schema.MIGRATIONS._migrations))
        schema.MIGRATIONS(name="0003 test")(
            lambda database: database.execute("ALTER TABLE measurements ADD COLUMN more TEXT")
        )
        patch.setattr("edgegen.history.file.STEPS", {**schema.STEPS, "0003 test": None})
        with History.open(path) as history:
            assert len(history.find(Query())) == 1
    columns = sqlite3.connect(path).execute("PRAGMA table_info(measurements)").fetchall()
    assert "more" in {column[1] for column in columns}
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="later version"):
        History.open(path, write=True)
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with History.open(path, write=True) as history:
        history.add(USUAL)

    def failing(database: object) -> None:
        database.execute("ALTER TABLE measurements ADD COLUMN more TEXT")  # type: ignore[attr-defined]
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(schema.MIGRATIONS, "_migrations", list(schema.MIGRATIONS._migrations))
        schema.MIGRATIONS(name="0003 test")(failing)
        patch.setattr("edgegen.history.file.STEPS", {**schema.STEPS, "0003 test": None})
        with pytest.raises(ResourceError):
            History.open(path)
    with History.open(path) as history:
        assert len(history.find(Query())) == 1


def test_a_file_of_something_else_is_refused_and_left(path: Path) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (a)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(IntegrityError, match="something else"):
        History.open(path, write=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database, but a text of some length" * 40, b"\0" * 99])
def test_a_file_that_is_no_database_is_refused_and_left(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged") as refused:
        History.open(path, write=True)
    assert ".recover" in refused.value.hint
    assert path.read_bytes() == content


def test_a_damaged_file_is_an_error_and_never_another_result(path: Path) -> None:
    with History.open(path, write=True) as history:
        history.add(USUAL)
    whole = path.read_bytes()
    for place in range(4096, len(whole), 9001):
        path.write_bytes(whole[:place] + b"\xff" * 600 + whole[place + 600 :])
        damaged = path.read_bytes()
        try:
            with History.open(path) as history:
                for record in history.find(Query()):
                    assert history.measurement(record) == USUAL
        except EdgegenError:
            pass
        assert path.read_bytes() == damaged
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IntegrityError), History.open(path) as history:
        history.measurement(history.find(Query())[0])


def test_a_sample_that_was_changed_is_found(path: Path) -> None:
    with History.open(path, write=True) as history:
        history.add(USUAL)
    changed = sqlite3.connect(path)
    changed.execute("UPDATE measurements SET json = replace(json, 'lighthouse', 'greenhouse')")
    changed.commit()
    changed.close()
    with (
        History.open(path) as history,
        pytest.raises(IntegrityError, match="not what was added"),
    ):
        history.measurement(history.find(Query())[0])


def test_a_pipe_is_not_waited_for(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(ResourceError):
        History.open(path, write=True)


def test_a_place_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(ResourceError, match="state"):
        History.open(tmp_path / "state" / "history.sqlite", write=True)


def test_a_writer_that_holds_the_file_for_too_long_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with History.open(path, write=True):
        pass
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr("edgegen.history.file.WAIT_S", 0.1)
    with (
        History.open(path, write=True) as history,
        pytest.raises(ResourceError, match="another process"),
    ):
        history.add(USUAL)
    other.close()
