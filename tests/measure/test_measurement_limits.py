"""What no device measures is refused where it comes in: from a file, and from a device."""

import json
from dataclasses import replace
from typing import Any

import pytest

from edgegen.core.codec import decode, encode
from edgegen.core.errors import ConfigError, RunnerError
from edgegen.core.measurement import Measurement
from edgegen.measure.recording import Recorder
from edgegen.runner.protocol import Load, Sample
from tests.measure.test_recording import events
from tests.statistics.samples import measurement


@pytest.mark.parametrize(
    ("way", "value", "said"),
    [
        (("runs", 0, "loads", 0, "end_s"), -3.0, "before it begins"),
        (("runs", 1, "images", 1, "end_s"), 1e300, "no time of a measurement"),
        (("runs", 1, "images", 1, "load_s"), -1.0, "no time of a measurement"),
        (("runs", 1, "sensors", 0, "time_s"), 1e9, "no time of a measurement"),
        (("runs", 1, "sensors", 0, "values", "temperature_c.package"), 1e25, "no value"),
        (("runs", 1, "launch_s"), -0.1, "no time of a measurement"),
        (("package", "package_bytes"), -1, "a size of -1 bytes"),
        (("workload", "steps"), 0, "no count"),
        (("environment", "limits"), {"throttle_flag.x": 1e99}, "no value"),
    ],
)
def test_a_file_with_what_no_device_measures_is_refused(
    way: tuple[Any, ...], value: object, said: str
) -> None:
    whole = json.loads(json.dumps(encode(measurement())))
    holder = whole
    for step in way[:-1]:
        holder = holder[step]
    holder[way[-1]] = value
    with pytest.raises(ConfigError, match=said):
        decode(Measurement, whole, source="a file")


@pytest.mark.parametrize(
    "event",
    [
        Load(t=0.0, component="unet", start=-1e300, end=1.0, providers=()),
        Sample(t=0.0, values={"power_w.x": 1e99}, cost_s=0.0),
        Sample(t=0.0, values={}, cost_s=-1.0),
    ],
)
def test_a_runner_that_tells_what_no_device_measures_is_an_error(event: Load | Sample) -> None:
    recorder, first = Recorder(), events()[0]
    recorder.take(first)
    with pytest.raises(RunnerError, match="what no device measures"):
        recorder.take(replace(event, t=first.t))


def test_a_process_that_ran_before_time_began_is_an_error() -> None:
    recorder = Recorder()
    recorder.take(events()[0])
    with pytest.raises(RunnerError, match="what no device measures"):
        recorder.run("steady", started_s=0.0, launch_s=1e200)
