"""A runner that writes anything: events of any kind, in any order, with any value."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edgegen.runner.job import GenerateJob
from edgegen.runner.protocol import parse_line
from edgegen.runner.session import generate
from tests.fuzz.harness import case, fuzzing
from tests.fuzz.played import device, done, facts, line, spoiled_line

STATE = done(
    operating_system="Linux",
    governor=None,
    virtual_machine=None,
    hypervisor=None,
    emulated=False,
    load_average=[0.1, 0.1, 0.1],
    boot_id="x",
    oom_kills=0,
)
EVENTS: list[dict[str, Any]] = [
    {
        "event": "hello",
        "t": 0.1,
        "schema": 1,
        "runner_version": "0.1.0",
        "python": "3.11.2",
        "numpy": "2.0.0",
        "runtime": {"name": "onnxruntime", "version": "1.20", "providers": ["CPU"]},
        "platform": {
            "system": "Linux",
            "release": "6.1",
            "machine": "aarch64",
            "cpu": None,
            "cores": 4,
            "memory_bytes": 1 << 30,
        },
        "pid": 7,
        "started": 0.0,
        "process": None,
    },
    {
        "event": "load",
        "t": 1.0,
        "component": "unet",
        "start": 0.5,
        "end": 1.0,
        "providers": ["CPU"],
    },
    {"event": "image_start", "t": 1.0, "index": 0, "seed": 1, "prompt": "a", "warmup": False},
    {
        "event": "step",
        "t": 2.0,
        "image": 0,
        "index": 0,
        "of": 1,
        "timestep": 999.0,
        "start": 1.0,
        "end": 2.0,
        "runtime_s": 0.5,
    },
    {
        "event": "phase",
        "t": 2.0,
        "image": 0,
        "name": "denoise",
        "start": 1.0,
        "end": 2.0,
        "runtime_s": 0.5,
    },
    {"event": "sample", "t": 2.0, "values": {"temperature_c.soc": 50.0, "clock": None}},
    {
        "event": "image_end",
        "t": 3.0,
        "image": 0,
        "start": 1.0,
        "end": 3.0,
        "load_s": 0.0,
        "runtime_s": 0.5,
        "width": 8,
        "height": 8,
        "path": "/x/0.png",
        "sha256": "ab" * 32,
    },
    {
        "event": "check",
        "t": 3.0,
        "layer": "image",
        "name": "image",
        "psnr_db": None,
        "threshold_db": 30.0,
        "max_abs_error": 0.0,
        "passed": True,
    },
    {"event": "free", "t": 3.0, "component": "unet"},
    {"event": "done", "t": 4.0},
]


@fuzzing()
@given(data=st.data(), event=st.sampled_from(EVENTS))
def test_a_line_of_any_kind_ends_orderly(data: st.DataObject, event: dict[str, Any]) -> None:
    text = data.draw(spoiled_line(event)).decode("utf-8", "replace")
    with case("runner: line"):
        parse_line(text)


@fuzzing()
@given(data=st.data())
def test_a_runner_may_write_anything_in_any_order(data: st.DataObject) -> None:
    events = list(EVENTS)
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(events)))
        event = data.draw(st.sampled_from(EVENTS))
        events[place : place + data.draw(st.integers(0, 1))] = [event] * data.draw(
            st.integers(0, 2)
        )
    lines = [
        data.draw(spoiled_line(event)) if data.draw(st.integers(0, 9)) == 0 else line(event)
        for event in events
    ]
    output = b"\n".join(lines)
    with case("runner: session"), device([line(STATE), line(facts())], output) as there:
        made = generate(GenerateJob(package="/p", file_names=("0.png",)), device=there)
        for image in made:
            assert image.width > 0
