"""How a measurement becomes a row of the history, a row a record, and a query a condition."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
from datetime import UTC, datetime
from typing import Any

from edgegen.core.codec import encode
from edgegen.core.evaluation import Evaluation
from edgegen.core.measurement import Measurement
from edgegen.history.record import EvaluationRecord, Query, Record, moment
from edgegen.statistics.energy import image_energies, whole
from edgegen.statistics.latencies import summarise
from edgegen.statistics.series import steady_images

COLUMNS = tuple(field.name for field in dataclasses.fields(Record))
EVALUATION_COLUMNS = tuple(
    field.name for field in dataclasses.fields(EvaluationRecord) if field.name != "suites"
)


def content_of(value: object) -> str:
    """Return a value as one line of JSON that is the same for equal values."""
    return json.dumps(
        encode(value), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )


def row_of(measurement: Measurement, source: str | None) -> dict[str, Any]:
    """Return the columns of a measurement."""
    package, work, environment = (
        measurement.package,
        measurement.workload,
        measurement.environment,
    )
    text = content_of(measurement)
    timed = not environment.emulated
    steady = [
        [image.latency_s for image in steady_images(run)] for run in measurement.of_kind("steady")
    ]
    summary = summarise(steady) if timed else None
    energy = whole(image_energies(measurement)) if timed else None
    record = Record(
        content_sha256=hashlib.sha256(text.encode()).hexdigest(),
        added_at=moment(datetime.now(UTC).isoformat()),
        started_at=moment(environment.started_at),
        source=source,
        model=package.model,
        weights_sha256=package.weights_sha256,
        manifest_sha256=package.manifest_sha256,
        target=package.target,
        recipe=package.recipe,
        package_bytes=package.package_bytes,
        device=environment.device,
        device_model=environment.model,
        device_profile=environment.profile,
        machine=environment.machine,
        processor=environment.processor,
        complete=_is_complete(measurement),
        width=work.width,
        height=work.height,
        steps=work.steps,
        guidance=work.guidance,
        guidance_start=work.guidance_start,
        guidance_stop=work.guidance_stop,
        cache_interval=work.cache_interval,
        scheduler=work.scheduler,
        providers=work.providers,
        threads=work.threads,
        residency=work.residency,
        memory_mode=work.memory,
        arithmetic=work.arithmetic,
        p50_s=None if summary is None else summary.median,
        p90_s=None if summary is None else summary.p90,
        peak_memory_bytes=_peak_memory(measurement),
        energy_j=None if energy is None else energy.image_j,
    )
    row = {name: getattr(record, name) for name in COLUMNS}
    return {**row, "providers": json.dumps(work.providers), "json": text}


def evaluation_row_of(evaluation: Evaluation, source: str | None) -> dict[str, Any]:
    """Return the columns of an evaluation."""
    text = content_of(evaluation)
    names = (
        *("model", "weights_sha256", "manifest_sha256", "target", "recipe"),
        *("width", "height", "steps", "guidance", "arithmetic"),
    )
    return {
        "content_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "added_at": moment(datetime.now(UTC).isoformat()),
        "source": source,
        **{name: getattr(evaluation, name) for name in names},
        "json": text,
    }


def _is_complete(measurement: Measurement) -> bool:
    """Return whether it says how long the workload takes: whole, and not held to little memory."""
    whole_ = not measurement.quick and measurement.interrupted is None
    limited = measurement.workload.max_memory_bytes is not None
    return whole_ and not limited and not measurement.environment.emulated


def _peak_memory(measurement: Measurement) -> int | None:
    peaks = [
        run.memory.peak_pss_bytes
        for run in measurement.of_kind("memory")
        if run.memory is not None and run.memory.peak_pss_bytes is not None
    ]
    return max(peaks, default=None)


def record_of(row: sqlite3.Row) -> Record:
    values = dict(row)
    values["providers"] = tuple(json.loads(values["providers"]))
    values["complete"] = bool(values["complete"])
    return Record(**values)


def evaluation_record_of(row: sqlite3.Row, evaluation: Evaluation) -> EvaluationRecord:
    return EvaluationRecord(
        **{name: row[name] for name in EVALUATION_COLUMNS}, suites=evaluation.suites
    )


def wants_evaluations(query: Query) -> bool:
    """Return whether a query asks for nothing that evaluations lack."""
    return given(query).keys() <= {"since", *EVALUATION_COLUMNS}


def condition_of(query: Query, *, moment_in: str = "started_at") -> tuple[str, dict[str, Any]]:
    """Return the condition of a query in SQL, and the values that it names.

    `moment_in` is the column that `since` is about.
    """
    parts, values = ["1"], given(query)
    if "providers" in values:
        values["providers"] = json.dumps(values["providers"])
    if "since" in values:
        values["since"] = moment(values["since"].isoformat())
    for name in values:
        match name:
            case "since":
                parts.append(f"{moment_in} >= :since")
            case "model":
                parts.append("instr(lower(model), lower(:model))")
            case "device":
                fields = ("device", "device_model", "device_profile", "processor")
                found = " OR ".join(f"instr(lower({field}), lower(:device))" for field in fields)
                parts.append(f"({found})")
            case "device_address":
                parts.append("device = :device_address")
            case "threads" if query.threads == "default":
                parts.append("threads IS NULL")
            case "arithmetic" if query.arithmetic == "own":
                parts.append("arithmetic IS NULL")
            case _:
                parts.append(f"{name} = :{name}")
    return " AND ".join(parts), values


def given(query: Query) -> dict[str, Any]:
    """Return the fields of a query that want something."""
    fields = {field.name: getattr(query, field.name) for field in dataclasses.fields(query)}
    return {name: value for name, value in fields.items() if value is not None}
