"""Measurements become runs of MLflow, once; runs where MLflow's client is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgegen.cli.main import run
from edgegen.core.codec import decode
from edgegen.core.errors import MissingDependencyError, ResourceError
from edgegen.core.measurement import Measurement
from edgegen.history.mlflow_export import CONTENT_TAG, Exported, export_to_mlflow
from edgegen.history.record import Query
from edgegen.history.store import History
from tests.statistics.samples import measurement, sustained

if TYPE_CHECKING:
    from collections.abc import Iterator

USUAL = measurement()


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[History]:
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path))
    with History.open(write=True) as opened:
        opened.add(USUAL)
        yield opened


def test_without_its_client_the_package_to_install_is_named(
    history: History, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    with pytest.raises(MissingDependencyError) as missing:
        export_to_mlflow(history, Query(), "http://localhost:1", "edgegen")
    assert "mlflow" in missing.value.hint
    assert run(["history", "export", "--mlflow", "http://localhost:1"]) == 3
    assert run(["history", "export"]) == 2
    assert run(["history", "export", "a.jsonl", "--mlflow", "http://localhost:1"]) == 2


@pytest.mark.filterwarnings("ignore")
def test_each_measurement_becomes_one_run_with_its_samples(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="MLflow's client is an extra")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"file://{tmp_path / 'runs'}"
    assert export_to_mlflow(history, Query(), uri, "devices") == Exported(added=1, known=0)
    history.add(sustained())
    assert export_to_mlflow(history, Query(), uri, "devices") == Exported(added=1, known=1)
    client = MlflowClient(tracking_uri=uri)
    place = client.get_experiment_by_name("devices").experiment_id
    runs = {each.data.params["device"]: each for each in client.search_runs([place])}
    here = runs["local"]
    assert here.data.params["recipe"] == "fp16-storage"
    assert here.data.metrics["peak_memory_bytes"] == 1_310_000_000
    assert len(client.get_metric_history(here.info.run_id, "image_s")) == 12
    record = history.find(Query(device_address="local"))[0]
    assert here.data.tags[CONTENT_TAG] == record.content_sha256
    folder = client.download_artifacts(here.info.run_id, "measurement.json", str(tmp_path))
    raw = json.loads(Path(folder).read_text(encoding="utf-8"))
    assert decode(Measurement, raw, source="artifact") == USUAL


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_fails_half_way_is_deleted_and_made_again(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="MLflow's client is an extra")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"file://{tmp_path / 'runs'}"

    def failing(*arguments: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_text", failing)
        with pytest.raises(ResourceError, match="the disk is full"):
            export_to_mlflow(history, Query(), uri, "devices")
    assert export_to_mlflow(history, Query(), uri, "devices") == Exported(added=1, known=0)
