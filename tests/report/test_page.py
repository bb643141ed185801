"""The page: self-contained, well-formed, honest, and not to be written by a prompt."""

import base64
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from edgegen_runner.png import encode_png

from edgegen.core.codec import decode
from edgegen.core.measurement import Measurement
from edgegen.report import html
from edgegen.report.details import Picture
from edgegen.report.sensor_names import sensor_name
from edgegen.statistics.analysis import analyse
from tests.report.page_reader import HOSTILE, Checker, drawings, read
from tests.statistics.samples import disturbed, measurement, throttled


def page(value: Measurement, pictures: Sequence[Picture] = ()) -> str:
    return html.page(analyse(value), pictures)


def throttled_page() -> str:
    return html.page(throttled())


def raw_of(checker: Checker) -> Measurement:
    return decode(Measurement, json.loads(checker.scripts[0]), source="page")


@pytest.fixture(scope="module")
def full() -> Checker:
    png = encode_png(np.zeros((4, 4, 3), np.uint8))
    return read(page(measurement(), [Picture(png=png, caption="a picture")]))


def test_the_page_loads_nothing(full: Checker) -> None:
    text = page(measurement())
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text)
    for _, attributes in full.tags:
        for name in ("src", "href", "action", "srcset", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:image/png;base64,")


def test_each_chart_is_well_formed_and_has_a_title() -> None:
    drawings = re.findall(r"<svg.*?</svg>", page(measurement()), flags=re.DOTALL)
    assert len(drawings) == 7  # images, steps, starts, parts, memory and two sensors
    for text in drawings:
        drawing = ET.fromstring(text)
        title = drawing.find("title")
        assert title is not None
        assert title.text


def test_no_coordinate_is_outside_of_its_chart() -> None:
    for text in re.findall(r"<svg.*?</svg>", page(measurement()), flags=re.DOTALL):
        drawing = ET.fromstring(text)
        _, _, width, height = map(float, drawing.attrib["viewBox"].split())
        for node in drawing.iter():
            for name, limit in (("cx", width), ("x", width), ("cy", height), ("y", height)):
                if name in node.attrib:
                    assert -1 <= float(node.attrib[name]) <= limit + 1


def test_each_image_and_each_step_is_drawn(full: Checker) -> None:
    tips = [str(attributes.get("data-tip")) for _, attributes in full.tags]
    assert sum(bool(re.match(r"restart \d, image \d", tip)) for tip in tips) == 12
    assert sum(bool(re.match(r"restart \d, step \d+", tip)) for tip in tips) == 96


def test_what_a_prompt_says_stays_text() -> None:
    value = measurement()
    hostile = replace(
        value,
        workload=replace(value.workload, prompt=HOSTILE, negative_prompt=HOSTILE),
        package=replace(value.package, model=HOSTILE, profile=HOSTILE),
        environment=replace(value.environment, processor=HOSTILE, versions={HOSTILE: HOSTILE}),
        warnings=(HOSTILE,),
    )
    checker = read(page(hostile, [Picture(png=b"x", caption=HOSTILE)]))
    assert len(checker.scripts) == 2
    assert [tag for tag, _ in checker.tags].count("img") == 1
    for _, attributes in checker.tags:
        assert not [name for name in attributes if name.startswith("on")]
    assert HOSTILE in "".join(checker.text)
    assert raw_of(checker) == hostile


def test_what_a_sensor_is_called_stays_text() -> None:
    analysis = throttled()
    assert analysis.timings is not None
    value, (run,) = analysis.measurement, analysis.timings.sustained
    samples = tuple(
        replace(each, values={f"{name}{HOSTILE}": v for name, v in each.values.items()})
        for each in run.run.sensors
    )
    evil = replace(run.run, sensors=samples)
    evidence = tuple(
        replace(event, sensor=f"{event.sensor}{HOSTILE}") for event in run.judgement.evidence
    )
    hostile = replace(value, runs=(value.runs[0], evil), unseen=(HOSTILE,))
    told = replace(run, run=evil, judgement=replace(run.judgement, evidence=evidence))
    timings = replace(analysis.timings, sustained=(told,))
    shown = html.page(replace(analysis, measurement=hostile, timings=timings))
    checker = read(shown)
    assert len(checker.scripts) == 2
    assert "img" not in [tag for tag, _ in checker.tags]
    for _, attributes in checker.tags:
        assert not [name for name in attributes if name.startswith("on")]
    assert f"flag 'throttled{HOSTILE}'" in "".join(checker.text)


def test_the_charts_of_a_sustained_page_are_well_formed_and_inside() -> None:
    drawings = re.findall(r"<svg.*?</svg>", throttled_page(), flags=re.DOTALL)
    assert len(drawings) == 8  # over time, starts, memory, and five sensors
    for text in drawings:
        drawing = ET.fromstring(text)
        assert drawing.findtext("title")
        _, _, width, height = map(float, drawing.attrib["viewBox"].split())
        for node in drawing.iter():
            for name, limit in (("cx", width), ("x", width), ("cy", height), ("y", height)):
                if name in node.attrib:
                    assert -1 <= float(node.attrib[name]) <= limit + 1


def test_the_raw_samples_are_in_the_page(full: Checker) -> None:
    assert raw_of(full) == measurement()


def test_the_pictures_are_in_the_page_with_the_prompt(full: Checker) -> None:
    images = [attributes for tag, attributes in full.tags if tag == "img"]
    source = str(images[0]["src"]).partition("base64,")[2]
    assert base64.b64decode(source).startswith(b"\x89PNG")
    assert 'a lighthouse at dawn, <oil> & "canvas"' in "".join(full.text)


def test_an_emulated_devices_latencies_are_not_on_the_page() -> None:
    checker = read(page(disturbed(measurement())))
    text = "".join(checker.text)
    assert "Steady images" not in text
    assert "From start" not in text
    assert "emulated" in text
    badges = [str(attributes.get("class")) for _, attributes in checker.tags]
    assert badges.count("badge warn") == 3  # emulated, virtual machine, quick


def test_a_measurement_of_almost_nothing_still_makes_a_page() -> None:
    value = replace(measurement(restarts=1, images=1), unseen=(), golden=())
    only_cold = replace(value, runs=value.runs[:1])
    for each in (value, only_cold, replace(value, runs=())):
        assert raw_of(read(page(each))) == each


@pytest.mark.parametrize("width", [8, 15])
def test_no_label_of_a_chart_is_cut_at_its_edge(width: int) -> None:
    """At the usual size of letters, and at that of narrow screens, whose charts have a minimum."""
    pages = (page(measurement(images=40)), throttled_page())
    for drawing in (each for text in pages for each in drawings(text)):
        right = float(drawing.attrib["viewBox"].split()[2])
        for label in (node for node in drawing.iter("text") if node.attrib["class"] == "tick"):
            length = 0.55 * width * len(label.text or "")
            before = {"start": 0.0, "middle": length / 2, "end": length}
            left = float(label.attrib["x"]) - before[label.attrib.get("text-anchor", "start")]
            assert left >= 0, label.text
            assert left + length <= right + 1, label.text


def test_every_axis_has_a_title() -> None:
    found = drawings(page(measurement(images=6))) + drawings(throttled_page())
    with_axes = [each for each in found if any(node.tag == "line" for node in each.iter())]
    assert len(with_axes) > 8
    for drawing in with_axes:
        titles = [
            node.text for node in drawing.iter("text") if node.attrib["class"] == "axis-title"
        ]
        assert titles, ET.tostring(drawing)[:200]


def test_sensors_are_called_by_what_they_measure() -> None:
    shown = re.sub(r"<script.*?</script>", "", throttled_page(), flags=re.DOTALL)
    for name in ("Temperature of the chip", "Clock of the Arm cores", "Power of all rails"):
        assert name in shown
    assert not re.search(r"\b(temperature_c|frequency_mhz|power_w|throttle_flag)\b", shown)


def test_a_sensor_that_nobody_knows_keeps_its_name() -> None:
    assert sensor_name("novelty_x.a").title == "novelty_x.a"
    assert sensor_name("throttle_flag.under_voltage").title == "Held back now: under-voltage"
    assert sensor_name("pressure_percent.io").title == "Waited for io"


def test_what_is_wider_than_a_screen_scrolls_with_a_cue_and_no_word_is_broken() -> None:
    shown = page(measurement())
    assert shown.count("scroll it sideways") == shown.count('class="scroll wide"') > 0
    style = re.sub(r"\s+", " ", shown[shown.index("<style>") : shown.index("</style>")])
    first_column = style[style.index(".figures td:first-child") :]
    assert "overflow-wrap: normal" in first_column[: first_column.index("}")]
    assert "@media (max-width: 750px) { .sideways { display: block; } }" in style
