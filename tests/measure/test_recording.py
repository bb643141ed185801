"""What the runner says, kept as it was said."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgegen.core.errors import RunnerError
from edgegen.core.shipped import shipped
from edgegen.measure.recording import Recorder
from edgegen.runner.protocol import Event, ImageEnd, Memory, Sample, parse_line

RECORDED = Path(__file__).parent / "data" / "generate.jsonl"


def events() -> list[Event]:
    return [parse_line(line)[1] for line in RECORDED.read_text(encoding="utf-8").splitlines()]


def recorded() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines() if line]


def test_the_recording_still_speaks_the_protocol() -> None:
    schema = json.loads((shipped("device_runners") / "protocol.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    assert len(recorded()) > 20
    for event in recorded():
        validator.validate(event)


def test_a_run_holds_every_image_step_phase_load_and_sample_of_the_events() -> None:
    recorder = Recorder()
    for event in events():
        recorder.take(event)
    run = recorder.run("steady", started_s=2.0, launch_s=0.5)
    kinds = [event["event"] for event in recorded()]
    assert len(run.images) == kinds.count("image_end") == 3
    assert [len(image.steps) for image in run.images] == [3, 3, 3]
    assert [phase.name for phase in run.images[1].phases] == [
        "text_encoder",
        "denoise",
        "vae_decoder",
    ]
    assert [image.warmup for image in run.images] == [True, False, False]
    assert [load.component for load in run.loads] == ["text_encoder", "unet", "vae_decoder"]
    assert len(run.sensors) == kinds.count("sample")
    assert run.memory is not None
    assert run.memory.peak_pss_bytes == next(
        event["peak_pss_bytes"] for event in recorded() if event["event"] == "memory"
    )


def test_times_are_counted_from_the_hello_event() -> None:
    recorder = Recorder()
    for event in events():
        recorder.take(event)
    run = recorder.run("steady", started_s=0.0, launch_s=0.0)
    end = next(event for event in recorded() if event["event"] == "image_end")
    assert run.images[0].end_s == pytest.approx(end["end"] - recorded()[0]["t"])
    assert run.images[0].latency_s == pytest.approx(end["end"] - end["start"])
    assert 0 < run.loads[0].start_s < run.loads[0].end_s < run.images[0].start_s


def test_a_sensor_that_did_not_answer_is_none_not_zero() -> None:
    recorder = Recorder()
    hello = events()[0]
    recorder.take(hello)
    recorder.take(Sample(t=hello.t + 1, values={"temperature_c.cpu": None}, cost_s=0.002))
    run = recorder.run("steady", started_s=0.0, launch_s=0.0)
    assert run.sensors[0].values == {"temperature_c.cpu": None}
    assert run.sensors[0].cost_s == 0.002


def test_memory_for_the_gpu_and_the_number_of_processes_are_kept() -> None:
    recorder = Recorder()
    hello = events()[0]
    recorder.take(hello)
    memory = next(event for event in events() if isinstance(event, Memory))
    recorder.take(replace(memory, t=hello.t + 1, peak_gpu_bytes=5, processes=3))
    run = recorder.run("memory", started_s=0.0, launch_s=0.0)
    assert run.memory is not None
    assert (run.memory.peak_gpu_bytes, run.memory.processes) == (5, 3)


def test_an_image_that_ends_without_having_begun_is_an_error() -> None:
    recorder = Recorder()
    recorder.take(events()[0])
    end = next(event for event in events() if isinstance(event, ImageEnd))
    with pytest.raises(RunnerError, match="image 0"):
        recorder.take(end)
