"""What the host accepts from a runner."""

import json
from typing import Any

import pytest

from edgegen.core.errors import ConfigError, IntegrityError, OutOfMemoryError, RunnerError
from edgegen.runner.protocol import Done, Error, Step, parse_line
from edgegen.runner.session import error_from

STEP = {
    "event": "step",
    "t": 1.5,
    "image": 0,
    "index": 1,
    "of": 4,
    "timestep": 500,
    "start": 1.0,
    "end": 1.5,
    "runtime_s": 0.4,
}


def test_line_becomes_a_frozen_event() -> None:
    data, event = parse_line(json.dumps(STEP))
    assert data == STEP
    assert event == Step(
        t=1.5, image=0, index=1, of=4, timestep=500.0, start=1.0, end=1.5, runtime_s=0.4
    )
    assert parse_line('{"event": "done", "t": 2}')[1] == Done(t=2.0)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Segmentation fault",
        "[]",
        "null",
        '{"t": 1}',
        '{"event": 3, "t": 1}',
        '{"event": "finished", "t": 1}',
        '{"event": ["done"], "t": 1}',
        "[" * 100_000,
    ],
)
def test_line_that_is_no_event_is_an_error_that_shows_its_head(line: str) -> None:
    with pytest.raises(RunnerError, match="not its protocol") as caught:
        parse_line(line)
    assert line[:40] in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    "change",
    [{"index": "1"}, {"end": None}, {"timestep": "NaN"}, {"extra": 1}, {"image": True}],
)
def test_event_with_wrong_fields_is_an_error_that_names_the_field(change: dict[str, Any]) -> None:
    with pytest.raises(RunnerError, match=next(iter(change))):
        parse_line(json.dumps({**STEP, **change}))


def test_event_without_a_field_is_an_error() -> None:
    with pytest.raises(RunnerError, match="runtime_s"):
        parse_line(json.dumps({key: value for key, value in STEP.items() if key != "runtime_s"}))


def test_runner_of_another_protocol_version_is_refused() -> None:
    hello = {
        "event": "hello",
        "t": 0.0,
        "schema": 2,
        "runner_version": "9",
        "python": "3.9.0",
        "numpy": "1.22",
        "runtime": {"name": "onnxruntime", "version": "1", "providers": []},
        "platform": {
            "system": "Linux",
            "release": "6",
            "machine": "aarch64",
            "cpu": None,
            "cores": 4,
            "memory_bytes": None,
        },
        "pid": 1,
        "started": 0.0,
    }
    with pytest.raises(RunnerError, match="version 2 of the protocol"):
        parse_line(json.dumps(hello))


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("bad-request", ConfigError),
        ("unsupported-scheduler", ConfigError),
        ("bad-package", IntegrityError),
        ("memory", OutOfMemoryError),
        ("missing-provider", RunnerError),
        ("something-new", RunnerError),
    ],
)
def test_kinds_of_errors_become_the_hosts_classes(kind: str, error: type[Exception]) -> None:
    made = error_from(Error(t=0.0, kind=kind, message="It failed.", hint="Retry."))
    assert type(made) is error
    assert made.hint == "Retry."
