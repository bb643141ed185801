"""What a picture costs here and elsewhere, by figures computed by hand, at prices with a day."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from edgegen.cli.main import run
from edgegen.core.codec import dump_json
from edgegen.core.errors import ConfigError
from edgegen.cost import Costs, Price, Quantity, compare_costs, parse_price
from edgegen.history.store import History
from tests.compare.test_measurements import with_latencies
from tests.statistics.samples import disturbed

TODAY = date(2026, 11, 30)
DAY = "2026-11-01"
POWER = Price(amount=0.36, currency="EUR", per="kWh", day=DAY)
API = Price(amount=0.002, currency="EUR", per="picture", day=DAY)
GPU = Price(amount=1.8, currency="EUR", per="h", day=DAY)
BOARD = Price(amount=80, currency="EUR", per="once", day=DAY)


def joules(value: float) -> Quantity:
    return Quantity(value=value, origin="measured", source="bench.json")


def costs(**changed: Any) -> Costs:
    usual: dict[str, Any] = {
        "energy_j": joules(10_000),
        "electricity": POWER,
        "latency_s": Quantity(value=2.0, origin="given", source="--latency"),
        "paid_once": [BOARD],
        "api": API,
        "today": TODAY,
    }
    return compare_costs(**{**usual, **changed})


def test_a_price_is_read_with_its_unit_and_its_day() -> None:
    assert parse_price(" 0.36EUR/kWh@2026-11-01", "kWh", "--electricity") == POWER
    assert parse_price("80 EUR@2026-11-01", "once", "--device-price") == BOARD


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.30EUR/kWh", "no day"),
        ("0.30/kWh@2026-11-01", "no price"),
        ("0.30eur/kWh@2026-11-01", "no price"),
        ("0.30EUR/h@2026-11-01", "no price"),
        ("0.30EUR@2026-11-01", "no price"),
        ("-1EUR/kWh@2026-11-01", "no price"),
        ("1e3EUR/kWh@2026-11-01", "no price"),
        ("0.30EUR/kWh@2026-02-30", "2026-02-30 is no day"),
        ("9" * 400 + "EUR/kWh@2026-11-01", "too much"),
        ("0." + "0" * 320 + "1EUR/kWh@2026-11-01", "too little"),
        ("", "no price"),
    ],
    ids=range(11),
)
def test_what_is_no_price_is_refused_with_an_example(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        parse_price(text, "kWh", "--electricity")
    assert "EUR/kWh@2026-11-01" in refused.value.hint


def test_the_break_even_is_the_first_picture_at_which_the_device_is_cheaper() -> None:
    found = costs()
    assert found.device.picture == pytest.approx(0.001)  # 10 kJ are 1/360 kWh
    (even,) = found.break_even
    assert even.pictures is not None
    n = even.pictures
    assert 80 + n * 0.001 < n * 0.002
    assert 80 + (n - 1) * 0.001 >= (n - 1) * 0.002 - 1e-9
    assert even.device_s == 2.0 * n


def test_a_gpu_costs_by_the_time_that_it_is_rented() -> None:
    (offer,) = costs(api=None, gpu=GPU, gpu_latency_s=2.0).offers
    assert offer.picture == pytest.approx(0.001)
    (offer,) = costs(api=None, gpu=GPU, gpu_latency_s=2.0, gpu_use=0.25).offers
    assert offer.picture == pytest.approx(0.004)


def test_without_anything_paid_once_it_is_the_first_picture_or_never() -> None:
    assert costs(paid_once=[]).break_even[0].pictures == 0
    dear = costs(energy_j=joules(20_000)).break_even[0]
    assert (dear.pictures, dear.device_s) == (None, None)
    assert costs(latency_s=None).break_even[0].device_s is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"api": replace(API, currency="USD")}, "EUR and USD"),
        ({"api": None}, "nothing to compare"),
        ({"gpu": GPU}, "GPU takes"),
        ({"gpu": GPU, "gpu_latency_s": 1.0, "gpu_use": 1.5}, "use is 1.5"),
        ({"gpu": GPU, "gpu_latency_s": 1.0, "gpu_use": 0.0}, "use is 0"),
        ({"energy_j": joules(0.0)}, "energy of a picture is 0"),
        ({"energy_j": joules(1e300)}, "energy of a picture is 1e"),
    ],
)
def test_what_cannot_be_compared_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        costs(**changed)


def test_old_and_coming_prices_are_pointed_out() -> None:
    notes = " ".join(
        costs(
            api=replace(API, day="2026-01-01"), paid_once=[replace(BOARD, day="2027-01-01")]
        ).notes
    )
    assert "2026-01-01 are more than half a year old" in notes
    assert "2027-01-01 are of days to come" in notes
    assert DAY not in notes


GIVEN = (
    *("--electricity", f"0.36EUR/kWh@{DAY}", "--api-price", f"0.002EUR/picture@{DAY}"),
    *("--device-price", f"80EUR@{DAY}"),
)
LATENCIES = [[1.0, 1.01, 0.99], [1.0, 0.99, 1.01], [1.01, 1.0, 1.0]]


def test_the_command_takes_what_was_measured_and_marks_what_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path))
    file, bare = tmp_path / "bench.json", tmp_path / "bare.json"
    measured = with_latencies(LATENCIES, power_w=6.0)
    file.write_text(dump_json(measured))
    bare.write_text(dump_json(with_latencies(LATENCIES)))
    assert run(["cost", str(file), *GIVEN, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["energy_j"]["origin"] == "measured"
    assert found["energy_j"]["value"] == pytest.approx(6.0, rel=0.02)
    assert "power_w.battery" in found["energy_j"]["source"]
    assert run(["cost", str(bare), *GIVEN, "--power", "6W", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["energy_j"]["origin"], found["latency_s"]["origin"]) == ("given", "measured")
    with History.open(write=True) as history:
        history.add(measured)
    assert run(["cost", "--model", "tiny", *GIVEN]) == 0
    shown = capsys.readouterr().out
    for said in ("history, 2026-01-02", "(measured) at 0.36 EUR/kWh", DAY, "pictures", "80.0 EUR"):
        assert said in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--power", "6W", *GIVEN], "--latency"),
        (["--power", "6", "--latency", "2s", *GIVEN], "6W"),
        (["--power", "6W", "--latency", "2", *GIVEN], "0.8s"),
        (["--power", "0W", "--latency", "2s", *GIVEN], "6W"),
        (GIVEN, "--power 6W --latency"),
        (["bare.json", *GIVEN], "--power 6W"),
        (["emulated.json", *GIVEN], "--power 6W"),
        (["bare.json", "--model", "tiny", *GIVEN], "two measurements"),
        (["--model", "tiny", *GIVEN], "edgegen bench"),
        (["--power", "6W", "--latency", "2s"], "--electricity"),
        (["--power", "6W", "--latency", "2s", *GIVEN, "--gpu-latency", "1s"], "--gpu-price"),
    ],
    ids=range(11),
)
def test_what_is_missing_is_named(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    measured = with_latencies(LATENCIES)
    Path("bare.json").write_text(dump_json(measured))
    Path("emulated.json").write_text(dump_json(disturbed(measured)))
    assert run(["cost", *arguments]) == 2
    assert said in capsys.readouterr().err
