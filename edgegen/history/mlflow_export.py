"""Writes measurements as runs of MLflow, by MLflow's own client (the extra `mlflow`)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import MissingDependencyError, ResourceError
from edgegen.core.measurement import Measurement
from edgegen.history.record import Query, Record
from edgegen.history.rows import content_of
from edgegen.history.store import History
from edgegen.statistics.series import timed_images

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CONTENT_TAG = "edgegen.content_sha256"
ARTIFACT = "measurement.json"
_QUIET = ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT")
_MOST_METRICS = 1000  # of one request, by MLflow's REST API

_PARAMETERS = (
    *("model", "weights_sha256", "manifest_sha256", "target", "recipe", "package_bytes"),
    *("device", "device_model", "device_profile", "machine", "processor"),
    *("width", "height", "steps", "guidance", "scheduler", "threads", "residency", "memory_mode"),
    "arithmetic",
)
_METRICS = ("p50_s", "p90_s", "peak_memory_bytes", "energy_j", "package_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """How many runs were made, and how many measurements had one already."""

    added: int
    known: int


def export_to_mlflow(history: History, query: Query, uri: str, experiment: str) -> Exported:
    """Make a run of each measurement that a query wants, with its raw samples as an artifact.

    A measurement that has a run in the experiment gets no second one. Raises MissingDependencyError
    without MLflow's client, ResourceError with what MLflow says where it fails; a run that was
    being made then is deleted.
    """
    for name in _QUIET:
        os.environ.setdefault(name, "true")
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise MissingDependencyError(
            "MLflow's client is not installed.", hint="pip install mlflow-skinny"
        ) from error
    added = known = 0
    try:
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
        place = client.create_experiment(experiment) if found is None else found.experiment_id
        for record in reversed(history.find(query)):
            if _has_run(client, place, record):
                known += 1
            else:
                _make_run(client, place, record, history.measurement(record))
                added += 1
    except (MlflowException, OSError) as error:
        raise ResourceError(
            f"MLflow failed after {added} runs: {error}",
            hint="What was exported stays; the same command goes on after it.",
        ) from error
    return Exported(added=added, known=known)


def _has_run(client: MlflowClient, place: str, record: Record) -> bool:
    wanted = f"tags.`{CONTENT_TAG}` = '{record.content_sha256}'"
    return bool(client.search_runs([place], wanted, max_results=1))


def _make_run(client: MlflowClient, place: str, record: Record, measurement: Measurement) -> None:
    started = datetime.fromisoformat(record.started_at)
    start_ms = round(started.timestamp() * 1000)
    run = client.create_run(
        place,
        start_time=start_ms,
        tags={CONTENT_TAG: record.content_sha256, "edgegen.source": record.source or "here"},
        run_name=f"{record.model} {record.target}-{record.recipe} on {record.device_title}",
    )
    identifier = run.info.run_id
    try:
        for batch in _batches(_metrics(record, measurement, start_ms)):
            client.log_batch(identifier, metrics=batch)
        client.log_batch(identifier, params=_parameters(record))
        client.log_text(identifier, content_of(measurement), ARTIFACT)
        client.set_terminated(identifier, end_time=start_ms + _duration_ms(measurement))
    except BaseException:
        client.delete_run(identifier)
        raise


def _parameters(record: Record) -> list[Any]:
    from mlflow.entities import Param

    values: Mapping[str, object] = {name: getattr(record, name) for name in _PARAMETERS}
    known = {name: value for name, value in values.items() if value is not None}
    return [Param(name, str(value)) for name, value in known.items()]


def _metrics(record: Record, measurement: Measurement, start_ms: int) -> list[Any]:
    """Return the figures of a record, and the latency of each timed image as a series."""
    from mlflow.entities import Metric

    values = {name: getattr(record, name) for name in _METRICS}
    metrics = [
        Metric(name, float(value), start_ms, 0)
        for name, value in values.items()
        if value is not None
    ]
    if measurement.environment.emulated:
        return metrics
    images = timed_images(measurement)
    return metrics + [
        Metric("image_s", image.latency_s, start_ms, step) for step, image in enumerate(images)
    ]


def _batches(metrics: Sequence[Any]) -> list[Sequence[Any]]:
    return [metrics[i : i + _MOST_METRICS] for i in range(0, len(metrics), _MOST_METRICS)]


def _duration_ms(measurement: Measurement) -> int:
    """Return the milliseconds from the start of a measurement to the end of its last image."""
    ends = [run.started_s + image.end_s for run in measurement.runs for image in run.images]
    return round(max(ends, default=0.0) * 1000)
