"""The exporter's process has torch make golden cases in a fork: results, errors and crashes."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

import pytest

from edgegen.core.errors import ExportError, MissingDependencyError, SourceError
from edgegen.exporters import child
from edgegen.exporters.base import ConverterJob
from edgegen.models.pipeline_source import folder_source
from edgegen.reference.child import GoldenJobs


@pytest.fixture
def job(tmp_path: Any) -> ConverterJob:
    return ConverterJob(goldens=GoldenJobs(source=folder_source(tmp_path), cases=()))


def ignore(event: str, **fields: object) -> None:
    """Hear an event."""


def test_the_result_is_that_of_the_reference(
    job: ConverterJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(goldens: GoldenJobs, _emit: object) -> Mapping[str, int]:
        return {"peak_weight_bytes": 7 + len(goldens.cases)}

    monkeypatch.setattr(child, "run_goldens", run)
    assert child._work(job, ignore) == {"peak_weight_bytes": 7}


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (SourceError("no weights", hint="get some"), SourceError),
        (ImportError("torch"), MissingDependencyError),
    ],
)
def test_an_error_keeps_its_class_and_hint(
    job: ConverterJob,
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    expected: type[SourceError] | type[MissingDependencyError],
) -> None:
    def run(*_: object) -> Mapping[str, int]:
        raise raised

    monkeypatch.setattr(child, "run_goldens", run)
    with pytest.raises(expected) as caught:
        child._work(job, ignore)
    assert caught.value.hint in ("get some", "Run: pip install 'edgegen[reference]'")


def test_a_crash_is_an_error_that_says_where(
    job: ConverterJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "run_goldens", lambda *_: os.kill(os.getpid(), signal.SIGTRAP))
    with pytest.raises(ExportError, match=r"reference: the exporter's process .* SIGTRAP"):
        child._work(job, ignore)
