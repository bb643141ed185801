"""A measurement is written as JSON, whole, and read strictly."""

import dataclasses
import json
from pathlib import Path

import pytest

from edgegen.core.codec import decode, dump_json, load_json
from edgegen.core.errors import ConfigError
from edgegen.core.measurement import Measurement
from tests.statistics.samples import disturbed, measurement


@pytest.mark.parametrize("value", [measurement(), disturbed(measurement(restarts=1, images=2))])
def test_a_measurement_survives_its_file(tmp_path: Path, value: Measurement) -> None:
    path = tmp_path / "measurement.json"
    path.write_text(dump_json(value), encoding="utf-8")
    assert load_json(Measurement, path) == value


def test_a_missing_reading_stays_missing_in_the_file() -> None:
    data = json.loads(dump_json(measurement()))
    values = data["runs"][0]["sensors"][0]["values"]
    assert values["temperature_c.gpu"] is None
    assert decode(Measurement, data, source="test").runs[0].sensors[0].values == values


def test_warm_ups_are_kept_and_kept_apart() -> None:
    steady = measurement().of_kind("steady")
    assert [[image.warmup for image in run.images] for run in steady] == 3 * [[True] + 4 * [False]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 2}, "schema_version is 2"),
        ({"schmea": 1}, "schmea"),
        ({"runs": [{"kind": "luke-warm"}]}, "luke-warm"),
    ],
)
def test_a_file_of_another_shape_is_refused_with_its_key(
    change: dict[str, object], said: str
) -> None:
    data = {**json.loads(dump_json(measurement())), **change}
    with pytest.raises(ConfigError, match=said):
        decode(Measurement, data, source="measurement.json")


def test_the_environment_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        measurement().environment.emulated = True  # type: ignore[misc]
