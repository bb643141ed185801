"""Measurements read back from a file, or given by a strange device: every view of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.codec import decode, dump_json, encode, parse_json_object
from edgegen.core.measurement import Measurement
from edgegen.report import terminal
from edgegen.report.html import page
from edgegen.statistics.analysis import analyse
from tests.fuzz.harness import case, fuzzing
from tests.statistics.samples import measurement, sustained, sustained_run
from tests.statistics.test_held_back import WEAK_SUPPLY, with_readings

WHOLE = [
    encode(each)
    for each in (
        measurement(images=2),
        sustained(sustained_run(duration_s=70, slower_from_s=40)),
        with_readings([WEAK_SUPPLY] * 3, WEAK_SUPPLY),
    )
]
ODD: tuple[object, ...] = (
    *(0, -1, 0.0, -0.5, 1e-300, 1e300, -1e300, 10**30, 10**400, 2**63, True, None, "", "x"),
    *([], {}, [1], {"a": 1.0}, [[]], "\x1b[2J\0\u2028</script>", "9" * 5000, "throttle_flag."),
)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value; of a long list, those of its first and last entries."""
    yield at
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*at, key))
    elif isinstance(value, list):
        few = range(len(value)) if len(value) < 4 else (0, 1, len(value) - 1)
        for index in few:
            yield from places(value[index], (*at, index))


PLACES = [list(places(each)) for each in WHOLE]


@st.composite
def spoiled(draw: st.DrawFn) -> dict[str, Any]:
    """A measurement of which some values are others, are gone, or stand twice."""
    which = draw(st.integers(0, len(WHOLE) - 1))
    whole = copy.deepcopy(WHOLE[which])
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(PLACES[which][1:]))
        holder = whole
        try:
            for step in way:
                holder = holder[step]
            holder[last]
        except (KeyError, IndexError, TypeError):
            continue  # another change took it away
        match draw(st.sampled_from(["other", "other", "gone", "twice"])):
            case "gone":
                del holder[last]
            case "twice" if isinstance(holder, list):
                holder.insert(0, holder[last])
            case _:
                holder[last] = draw(st.sampled_from(ODD) | st.floats(-1e6, 1e6))
    return whole


@fuzzing(0.2)  # most are drawn, a page of thousands of elements each
@given(whole=spoiled())
def test_a_spoiled_measurement_is_refused_or_shown(whole: dict[str, Any]) -> None:
    with case("measurements"):
        text = json.dumps(whole)
        found = decode(Measurement, parse_json_object(text, source="a file"), source="a file")
        show(found)
        assert decode(Measurement, json.loads(dump_json(found)), source="a copy") == found


def show(found: Measurement) -> None:
    """Make every view of a measurement."""
    analysis = analyse(found)
    for width in (40, 120):
        terminal.plot(analysis, width=width)
    terminal.plot(analysis, unicode=False)
    terminal.headline(found)
    terminal.verdicts(analysis)
    terminal.tables(analysis)
    terminal.golden_line(found)
    assert page(analysis).endswith("</html>\n")
