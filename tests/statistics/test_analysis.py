"""What is computed of a measurement, once."""

from dataclasses import replace

import pytest

from edgegen.core.measurement import Measurement
from edgegen.report import terminal
from edgegen.report.html import page
from edgegen.statistics import latencies, throttling
from edgegen.statistics.analysis import analyse
from tests.statistics.samples import disturbed, measurement, sustained, sustained_run


@pytest.mark.parametrize("value", [measurement(), sustained(sustained_run(duration_s=10))])
def test_every_view_of_a_measurement_is_drawn_without_computing_it_again(
    value: Measurement, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis = analyse(value)

    def computed_again(*_: object, **__: object) -> None:
        pytest.fail("computed again")

    monkeypatch.setattr(latencies, "median_interval", computed_again)
    monkeypatch.setattr(throttling, "find_changes", computed_again)
    monkeypatch.setattr(throttling, "limit_events", computed_again)
    assert terminal.tables(analysis)
    assert terminal.plot(analysis)
    assert len(terminal.verdicts(analysis)) == len(value.of_kind("sustained"))
    assert page(analysis)


def test_an_emulated_processors_measurement_has_no_timings() -> None:
    value = measurement(restarts=1)
    assert analyse(value).timings is not None
    assert analyse(disturbed(value)).timings is None


def test_what_opens_the_report_is_not_repeated_among_the_findings() -> None:
    value = measurement(restarts=1)
    held = replace(
        value, environment=replace(value.environment, limits={"throttle_flag.throttled": 1.0})
    )
    analysis = analyse(held)
    assert analysis.held_back is not None
    assert analysis.held_back.startswith("HELD BACK at the start")
    assert not [each for each in analysis.findings if "HELD BACK" in each.text]
