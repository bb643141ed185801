"""A sustained run in words, in a table, in the terminal's plot and on the page."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.cli.main import run as command
from edgegen.core.measurement import Measurement, Run, SensorSample
from edgegen.report import terminal
from edgegen.report.html import page
from edgegen.report.sustained import energy_table, sustained_table, verdict_sentence
from edgegen.report.time_chart import MOST_DOTS, time_chart
from edgegen.report.time_plot import draw_timeline
from edgegen.report.timeline import (
    Line,
    Timeline,
    binned,
    clocks,
    powers,
    temperatures,
    timeline,
    under_load,
    value_at,
    without_gaps,
)
from edgegen.statistics.analysis import analyse
from edgegen.statistics.changepoints import Change, LatencyChanges
from edgegen.statistics.energy import image_energies
from edgegen.statistics.sensor_events import SensorEvent
from edgegen.statistics.sustained import Sustained, outermost
from edgegen.statistics.throttling import Judgement
from tests.statistics.samples import (
    SLOWDOWN_RATIO,
    SLOWDOWN_S,
    measurement,
    sustained,
    sustained_run,
)
from tests.statistics.samples import throttled as analysed
from tests.tiny_packages import onnx_package

ONSET_S = SLOWDOWN_S - 1.0
"""The first image of the sample begins at 1 s."""

STEP = Change(
    shape="step",
    onset_s=193.0,
    onset_low_s=179.0,
    onset_high_s=201.0,
    end_s=193.0,
    ratio=1.31,
    ratio_low=1.28,
    ratio_high=1.34,
)


def a_run(judgement: Judgement, made: Run | None = None) -> Sustained:
    run = made or sustained_run(duration_s=20)
    return Sustained(run=run, judgement=judgement, zero_s=run.images[0].start_s)


def emulated(value: Measurement) -> Measurement:
    return replace(value, environment=replace(value.environment, emulated=True))


@pytest.fixture(scope="module")
def throttled() -> Sustained:
    timings = analysed().timings
    assert timings is not None
    (found,) = timings.sustained
    return found


@pytest.fixture(scope="module")
def drawn(throttled: Sustained) -> Timeline:
    found = timeline(throttled, image_energies(sustained()))
    assert found is not None
    return found


def test_a_throttled_run_says_when_by_how_much_why_and_the_rates(throttled: Sustained) -> None:
    text = verdict_sentence(throttled)
    found = re.match(r"Throttled: after 1 min (\d\d) s \(.* … .*\) steps took ([\d.]+) times", text)
    assert found is not None
    assert 60 + float(found[1]) == pytest.approx(ONSET_S, abs=3)
    assert float(found[2]) == pytest.approx(SLOWDOWN_RATIO, abs=0.01)
    assert "clock arm fell from 2400 to 1800 MHz" in text
    assert "flag 'throttled'" in text
    # an image takes 8 × 0.5 s and 0.175 s, pauses included; 8 × 0.65 s and 0.175 s afterwards
    assert text.endswith(" 14.4 images a minute at the start, 11.2 at the end.")


def test_moments_count_from_the_first_image() -> None:
    run = a_run(Judgement(verdict="slowed", slowdown=STEP, steps=99))
    assert "after 3 min 12 s (2 min 58 s … 3 min 20 s) steps took 1.31 times as long" in (
        verdict_sentence(run)
    )


def test_a_ramp_has_a_beginning_and_an_end() -> None:
    ramp = replace(STEP, shape="ramp", end_s=241.0)
    text = verdict_sentence(a_run(Judgement(verdict="slowed", slowdown=ramp, steps=99)))
    assert "on steps grew slower, and from 4 min 00 s on took 1.31 times as long" in text


def test_a_recovery_is_told() -> None:
    back = replace(STEP, onset_s=300.0, ratio=0.8, ratio_low=0.78, ratio_high=0.82)
    changes = LatencyChanges(changes=(STEP, back), line=(), block_steps=1, block_s=0.5)
    judgement = Judgement(verdict="slowed", slowdown=STEP, changes=changes, steps=99)
    assert "Later they recovered" in verdict_sentence(a_run(judgement))
    alone = replace(judgement, changes=replace(changes, changes=(STEP,)))
    assert "recovered" not in verdict_sentence(a_run(alone))


def test_who_said_nothing_is_not_taken_for_who_could_not_speak() -> None:
    judgement = Judgement(verdict="steady", steps=99)
    with_flag = sustained_run(duration_s=20)
    without = replace(with_flag, sensors=())
    assert "no sensor said that the device held back" in verdict_sentence(a_run(judgement))
    assert "no sensor here can report throttling" in verdict_sentence(a_run(judgement, without))
    slowed = Judgement(verdict="slowed", slowdown=STEP, steps=99)
    assert "no sensor says why" in verdict_sentence(a_run(slowed))
    assert "no sensor here can report throttling" in verdict_sentence(a_run(slowed, without))


def test_a_flag_without_effect_and_a_short_run_have_sentences_of_their_own() -> None:
    event = SensorEvent(
        kind="status", sensor="thermal_status.android", time_s=9, until_s=12, before=0, after=2
    )
    flagged = Judgement(verdict="flagged", evidence=(event,), steps=99)
    assert verdict_sentence(a_run(flagged)) == (
        "Flagged, no effect: Android's thermal status at 2, but steps took no longer."
    )
    short = verdict_sentence(a_run(Judgement(verdict="unknown", steps=32)))
    assert re.fullmatch(r"Too short to say: 32 steps in 1\d s; .* 24 over 60 s\.", short)


def rows_of(value: Measurement, run: Sustained) -> dict[str, tuple[str, str]]:
    table = sustained_table(run, value.start_temperature, image_energies(value))
    return {row[0]: (row[1], row[2]) for row in table.rows}


def test_the_table_has_the_figures_with_what_they_are_of(throttled: Sustained) -> None:
    rows = rows_of(sustained(), throttled)
    assert rows["Images a minute at the start"][0] == "14.4"
    assert rows["Images a minute at the end"][0] == "11.2"
    assert rows["End / start"][0] == "0.78"
    assert rows["Start temperature"] == (
        "48.0 °C",
        "soc; waited 1 min 02 s until it no longer fell",
    )
    assert rows["Lowest clock under load"] == ("1800 MHz", "arm; highest 2400 MHz")
    highest = max(s.values["temperature_c.soc"] or 0 for s in throttled.run.sensors[:-2])
    assert rows["Highest temperature"] == (f"{highest:.1f} °C", "soc")
    joules, source = rows["Energy an image"]
    assert 24.1 < float(joules.removesuffix(" J")) < 25.1  # 6 W × 4.17 s, 4.5 W × 5.37 s
    assert source == "pmic_rails, integrated power; contains pmic.VDD_CORE; power at rest included"


def test_a_start_temperature_that_was_not_reached_stands_out(throttled: Sustained) -> None:
    value = sustained()
    assert value.start_temperature is not None
    missed = replace(value.start_temperature, wanted_c=40.0, reached=False)
    row = rows_of(replace(value, start_temperature=missed), throttled)["Start temperature"]
    assert row[1].endswith("for 40.0 °C: NOT reached")
    none = rows_of(replace(value, start_temperature=None), throttled)["Start temperature"]
    assert none == ("–", "nothing was awaited")


def test_a_device_without_sensors_has_no_row_of_them() -> None:
    run = replace(sustained_run(duration_s=20), sensors=())
    rows = rows_of(sustained(run), a_run(Judgement(verdict="unknown", steps=32), run))
    assert float(rows["Images a minute"][0]) == pytest.approx(14.4, abs=0.1)
    assert "End / start" not in rows
    assert not {"Energy an image", "Highest temperature", "Lowest clock under load"} & set(rows)


def test_a_rail_says_what_it_is_part_of() -> None:
    table = energy_table(image_energies(sustained()))
    assert [(row[0], row[-1]) for row in table.rows] == [
        ("pmic_rails", "–"),
        ("pmic.VDD_CORE", "pmic_rails"),
    ]


def with_power(value: Measurement) -> Measurement:
    """Every steady process read 10 W from one sensor, often enough."""
    runs = [
        replace(
            run,
            sensors=tuple(
                SensorSample(time_s=0.2 * i, values={"power_w.VDD_IN": 10.0}) for i in range(80)
            ),
        )
        if run.kind == "steady"
        else run
        for run in value.runs
    ]
    return replace(value, runs=tuple(runs))


def test_an_ordinary_measurement_tells_its_energy_in_a_table_and_on_a_card() -> None:
    value = with_power(measurement())
    table = next(t for t in terminal.tables(analyse(value)) if t.title == "Energy of an image")
    image_s = sum(i.latency_s for r in value.of_kind("steady") for i in r.images[1:]) / 12
    assert float(table.rows[0][1].removesuffix(" J")) == pytest.approx(10 * image_s, abs=0.01)
    assert table.rows[0][2].count("…") == 1  # by process
    assert "Energy an image" in page(analyse(value))
    assert "Energy" not in [t.title for t in terminal.tables(analyse(measurement()))]


def test_the_memory_of_a_gpu_is_told_where_a_driver_tells_it() -> None:
    value = measurement()
    last = value.runs[-1]
    assert last.memory is not None
    memory = replace(last.memory, peak_gpu_bytes=2_500_000_000, processes=2)
    told = replace(value, runs=(*value.runs[:-1], replace(last, memory=memory)))
    table = next(t for t in terminal.tables(analyse(told)) if t.title == "Memory")
    assert ("Peak GPU memory (in no PSS)", "2.50 GB") in table.rows
    assert "The runner had 2 processes." in page(analyse(told))
    assert "GPU" not in page(analyse(value))


def test_the_timeline_holds_each_quantity_from_the_first_image_on(
    throttled: Sustained, drawn: Timeline
) -> None:
    assert [panel.title for panel in drawn.sensors] == ["temperature", "clock", "power"]
    assert len(drawn.steps.lines[0].points) == throttled.judgement.steps
    assert drawn.onset is not None
    assert drawn.onset.time_s == pytest.approx(ONSET_S, abs=3)
    assert [row.name for row in drawn.flags] == ["throttled"]
    assert drawn.flags[0].spans[0].start_s == ONSET_S
    assert drawn.sensors[2].lines[0].name == "pmic_rails"  # it contains the other
    for panel in drawn.sensors:
        assert panel.lines[0].points[0][0] == 0.0


def test_a_temperature_that_never_moves_is_not_the_hottest() -> None:
    run = sustained_run(duration_s=20)
    stuck = tuple(
        replace(s, values={**s.values, "temperature_c.stuck": 127.0}) for s in run.sensors
    )
    lines = temperatures(a_run(Judgement(verdict="steady", steps=9), replace(run, sensors=stuck)))
    assert [line.name for line in lines] == ["soc"]


def test_the_clock_that_fell_comes_before_a_faster_one() -> None:
    run = sustained_run(duration_s=20)
    faster = tuple(replace(s, values={**s.values, "frequency_mhz.big": 3e3}) for s in run.sensors)
    run = replace(run, sensors=faster)
    fell = SensorEvent(
        kind="clock",
        sensor="frequency_mhz.arm",
        time_s=5,
        until_s=9,
        before=2400,
        after=1800,
        is_cause=True,
    )
    judgement = Judgement(verdict="throttled", slowdown=STEP, evidence=(fell,), steps=9)
    assert [line.name for line in clocks(a_run(judgement, run))] == ["arm", "big"]
    assert clocks(a_run(replace(judgement, evidence=()), run))[0].name == "big"


def test_a_counter_of_energy_is_drawn_as_power() -> None:
    run = sustained_run(duration_s=20)
    samples = tuple(
        SensorSample(time_s=float(t), values={"energy_j.package-0": 7.0 * t}) for t in range(25)
    )
    run = replace(run, sensors=samples)
    energies = image_energies(sustained(run))
    (line,) = powers(a_run(Judgement(verdict="steady", steps=9), run), energies)
    assert line.name == "package-0"
    assert {round(value, 9) for _, value in line.points} == {7.0}
    assert [each.sensor for each in outermost(energies)] == ["energy_j.package-0"]


def test_only_readings_during_an_image_are_under_load() -> None:
    run = sustained_run(duration_s=20)
    between = run.images[0].end_s + 0.001  # the pause lasts 4 ms
    line = Line(name="x", points=((0.5, 1.0), (between - 1.0, 2.0), (run.images[-1].end_s, 3.0)))
    assert under_load(a_run(Judgement(verdict="steady", steps=9), run), line) == [1.0]


def test_values_are_sorted_into_bins_and_lines_are_cut_at_gaps() -> None:
    points = ((0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (20.0, 4.0))
    assert binned(points, [0.0, 1.5, 3.0, 20.0]) == {0: [1.0, 2.0], 1: [3.0], 2: [4.0]}
    assert without_gaps(points) == (points[:3], points[3:])
    assert without_gaps(points[:3]) == (points[:3],)
    assert without_gaps(()) == ()
    line = Line(name="x", points=points)
    assert value_at(line, 1.4, 1.0) == 2.0
    assert value_at(line, 10.0, 1.0) is None


@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_of_the_plot_is_wider_than_the_terminal(
    drawn: Timeline, width: int, unicode: bool
) -> None:
    lines = draw_timeline(drawn, width=width, unicode=unicode)
    assert max(map(len, lines)) <= width
    assert unicode or "\n".join(lines).isascii()


def test_the_onset_goes_through_all_plots_at_its_time(drawn: Timeline) -> None:
    lines = draw_timeline(drawn, width=100, unicode=False)
    assert drawn.onset is not None
    edge = lines[1].index("+")
    place = edge + 1 + int(drawn.onset.time_s / drawn.end_s * (100 - edge - 1))
    assert lines[-1].index("^") == place
    assert "slower from 1 min" in lines[-1]
    plotted = [line for line in lines[:-3] if line[edge : edge + 1] in ("+", "|")]
    assert len(plotted) == 7 + 3 * 4 + 1
    for line in plotted:
        assert len(line) <= place or line[place] in ":*#"
    clock = next(i for i, line in enumerate(lines) if "clock arm" in line)
    assert "*" not in lines[clock + 1][place + 2 :]  # 2400 MHz before, 1800 MHz after
    assert "*" not in lines[clock + 4][edge + 1 : place - 2]
    flags = next(line for line in lines if line.lstrip().startswith("throttled |"))
    assert place - 2 <= flags.index("#") <= place + 1


def test_the_plot_labels_its_ranges_and_the_time(drawn: Timeline) -> None:
    text = "\n".join(draw_timeline(drawn, width=100))
    for word in ("2400 MHz ┤", "1800 MHz ┤", "6.00 W ┤", "4.50 W ┤", "°C ┤", " ms ┤", "2 min"):
        assert word in text
    assert "80 % within" in text


def test_a_run_without_sensors_or_slowdown_is_still_drawn() -> None:
    run = replace(sustained_run(duration_s=20), sensors=())
    bare = timeline(a_run(Judgement(verdict="unknown", steps=32), run))
    assert bare is not None
    lines = draw_timeline(bare)
    assert len(lines) == 1 + 7 + 2
    assert "^" not in "".join(lines)
    assert "▲" not in "".join(lines)
    assert ET.fromstring(time_chart(bare)).tag == "svg"
    only_warmup = replace(run, images=run.images[:1])
    assert timeline(a_run(Judgement(verdict="unknown", steps=0), only_warmup)) is None


def tips(chart: ET.Element) -> dict[float, str]:
    """What the columns over the chart say, by their middle in pixels."""
    return {
        float(node.attrib["x"]) + float(node.attrib["width"]) / 2: node.attrib["data-tip"]
        for node in chart.iter("rect")
        if node.attrib.get("class") == "read"
    }


def test_the_chart_shows_all_panels_on_one_axis_with_the_onset(drawn: Timeline) -> None:
    chart = ET.fromstring(time_chart(drawn))
    names = [node.text for node in chart.iter("text") if node.attrib["class"] == "panel"]
    assert names == ["step latency", "temperature", "clock", "power"]
    (onset,) = [n for n in chart.iter("line") if n.attrib["class"] == "onset"]
    assert drawn.onset is not None
    place = 92 + (944 - 92) * drawn.onset.time_s / drawn.end_s
    assert float(onset.attrib["x1"]) == pytest.approx(place, abs=0.01)
    label = next(n.text for n in chart.iter("text") if n.attrib["class"] == "onset-label")
    assert str(label).startswith("steps × 1.3")
    columns = tips(chart)
    before = columns[min(columns, key=lambda x: abs(x - (place - 100)))]
    after = columns[min(columns, key=lambda x: abs(x - (place + 100)))]
    for text, clock, power in ((before, "2400", "6.00"), (after, "1800", "4.50")):
        assert f"arm {clock} MHz, pmic_rails {power} W" in text
    assert re.search(r"step (4\d\d|5\d\d) ms", before)
    assert re.search(r"step 6\d\d ms", after)
    assert "the warm-up image" in columns[min(columns)]
    assert len(list(chart.iter("circle"))) == len(drawn.steps.lines[0].points)
    (flag,) = [n for n in chart.iter("rect") if n.attrib.get("class") == "flag"]
    assert float(flag.attrib["x"]) == pytest.approx(92 + 852 * ONSET_S / drawn.end_s, abs=0.01)


def test_many_steps_are_drawn_as_medians_with_a_band() -> None:
    run = sustained_run(duration_s=60, step_s=0.02, ratio=1.0)
    steps = 8 * (len(run.images) - 1)
    assert steps < MOST_DOTS  # so that the next line makes the difference
    many = sustained_run(duration_s=90, step_s=0.02, ratio=1.0, slower_from_s=1e9)
    drawn = timeline(a_run(Judgement(verdict="unknown", steps=0), many))
    assert drawn is not None
    assert len(drawn.steps.lines[0].points) > MOST_DOTS
    chart = ET.fromstring(time_chart(drawn))
    assert not list(chart.iter("circle"))
    assert [n.attrib["class"] for n in chart.iter("polygon")] == ["spread"]


def test_every_coordinate_is_inside_of_the_chart(drawn: Timeline) -> None:
    chart = ET.fromstring(time_chart(drawn))
    _, _, width, height = map(float, chart.attrib["viewBox"].split())
    for node in chart.iter():
        for name, limit in (("cx", width), ("x", width), ("cy", height), ("y", height)):
            if name in node.attrib:
                assert 0 <= float(node.attrib[name]) <= limit
        for pair in node.attrib.get("points", "").split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_the_page_and_the_terminal_tell_a_sustained_run(throttled: Sustained) -> None:
    analysis = analysed()
    text = page(analysis)
    sentence = verdict_sentence(throttled)
    assert "<h2>Sustained</h2>" in text
    assert sentence.partition(": ")[2].replace("'", "&#x27;") in text
    assert "at ssh://pi@board" in text
    assert "Reading the sensors took 3.00 ms each time" in text
    assert terminal.verdicts(analysis) == (sentence,)
    assert [t.title for t in terminal.tables(analysis)] == ["Sustained", "Latency", "Memory"]
    assert "Raspberry Pi 5 Model B Rev 1.0, Cortex-A76 at ssh://pi@board" in (
        terminal.headline(analysis.measurement)
    )
    drawn = terminal.plot(analysis, width=80)
    assert drawn.startswith("Sustained: step latency, temperature, clock, power")


def test_of_an_emulated_device_only_its_behaviour_is_told() -> None:
    value = emulated(sustained())
    text = re.sub(r"<script.*?</script>", "", page(analyse(value)), flags=re.DOTALL)
    shown = "\n".join(
        [
            *terminal.verdicts(analyse(value)),
            terminal.plot(analyse(value)),
            *(" ".join(cells) for table in terminal.tables(analyse(value)) for cells in table.rows),
            *(finding.text for finding in analyse(value).findings),
        ]
    )
    images = len(value.of_kind("sustained")[0].images)
    assert f"EMULATED: {images} images were made in one process" in shown
    assert f"EMULATED: {images} images were made in one process" in text
    assert "(EMULATED)" in terminal.headline(value)
    for told in (text, shown):
        assert not re.search(r"\d [mµ]s\b|\d (J|W)\b|a minute|/ min|Throttled|Steady", told)
    assert "Power of" not in text
    assert "Temperature of the chip" in text


def test_a_short_sustained_benchmark_runs_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = onnx_package(tmp_path / "package")
    html = tmp_path / "page.html"
    arguments = ["bench", str(package), "--sustained", "1s", "--threads", "1", "--html", str(html)]
    assert command(arguments) == 0
    shown = capsys.readouterr()
    assert "Too short to say" in shown.out
    assert "all of them: too few to part" in shown.out
    assert "Measure for longer" in shown.err
    assert "<h2>Sustained</h2>" in html.read_text(encoding="utf-8")
