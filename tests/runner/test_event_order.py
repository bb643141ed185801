"""Events that cannot come where they come: the host stops there, and says which."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgegen.core.errors import RunnerError
from edgegen.runner import order
from edgegen.runner.order import EventOrder
from edgegen.runner.protocol import parse_line
from tests.fuzz.test_runner_lines import EVENTS

PART = {"event": "part", "t": 3.0, "index": 0, "cpu_s": 1.0}
HELLO, LOAD, START, STEP, PHASE, SAMPLE, END, *_ = EVENTS


def check(*events: dict[str, Any]) -> None:
    checked = EventOrder()
    for event in events:
        checked.check(parse_line(json.dumps(event))[1])


def test_a_job_of_two_images_keeps_to_the_order() -> None:
    second = [{**event, "image": 1} for event in (STEP, PHASE, END)]
    check(HELLO, LOAD, START, STEP, PHASE, SAMPLE, END, {**START, "index": 1}, *second)


def test_images_are_counted_anew_in_each_part_of_a_series() -> None:
    image = (START, STEP, PHASE, END)
    check(HELLO, *image, PART, *image, {**PART, "index": 1})


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([LOAD], "its first event is a Load"),
        ([HELLO, HELLO], "hello twice"),
        ([HELLO, STEP], "it draws no image, not 0"),
        ([HELLO, START, {**STEP, "image": 3}], "it draws image 0, not 3"),
        ([HELLO, START, START], "image 0 begins before image 0 has ended"),
        ([HELLO, {**START, "index": 5}], "image 5 isn't the next"),
        ([HELLO, START, END, END], "it draws no image"),
        ([HELLO, START, {**STEP, "index": 7}], "step 7 of 1"),
        ([HELLO, START, {**END, "width": -1}], "-1 × 8 pixels"),
        ([HELLO, {**PART, "index": 1}], "part 1 isn't the next"),
        ([HELLO, START, PART], "a part ends before image 0 has ended"),
        ([HELLO, {**SAMPLE, "values": {str(i): 0.0 for i in range(2000)}}], "2000 sensors"),
    ],
)
def test_an_event_out_of_its_place_is_refused(events: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(RunnerError, match=says):
        check(*events)


def test_a_runner_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "MOST_EVENTS", 100)
    with pytest.raises(RunnerError, match="over 100 events"):
        check(HELLO, *[SAMPLE] * 100)
