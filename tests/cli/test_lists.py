"""`edgegen profiles` and `edgegen targets`."""

from __future__ import annotations

import json

import pytest

from edgegen.cli.main import run
from edgegen.core.codec import decode
from edgegen.core.profile import DeviceProfile
from edgegen.devices.profiles import list_profiles, load_profile


def test_profiles_are_listed_with_this_machine_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profiles"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[4].startswith("host ")
    assert [line.split()[0] for line in lines[5:19]] == [p.name for p in list_profiles()]


def test_a_profile_is_shown_with_the_sources_of_its_figures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["profiles", "raspberry-pi-5"]) == 0
    page = capsys.readouterr().out
    assert "Raspberry Pi 5 product brief" in page
    assert "https://datasheets.raspberrypi.com/" in page
    assert "80 °C" in page
    assert "Estimate of this project" in page


def test_a_profile_as_json_can_be_read_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profiles", "pixel-8", "--json"]) == 0
    (data,) = json.loads(capsys.readouterr().out)["profiles"]
    assert decode(DeviceProfile, data, source="output") == load_profile("pixel-8")


def test_all_profiles_are_one_json_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profiles", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in data["profiles"]][:2] == ["host", list_profiles()[0].name]


def test_an_unknown_profile_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profiles", "pixel8"]) == 2
    assert "Did you mean 'pixel-8'?" in capsys.readouterr().err


def test_a_target_is_shown_with_its_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["targets", "onnx"]) == 0
    page = capsys.readouterr().out
    assert "fp16-storage (default)" in page
    assert "stable-diffusion-xl" in page


def test_targets_as_json_hold_their_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["targets", "--json"]) == 0
    (onnx,) = (t for t in json.loads(capsys.readouterr().out)["targets"] if t["name"] == "onnx")
    names = [recipe["name"] for recipe in onnx["recipes"]]
    assert names[:3] == ["fp32", "fp16-storage", "fp16"]
    assert set(names[3:]) == {"int8", "int8-dynamic", "int8-static", "int8-static-a16", "int4"}
    assert onnx["missing"] == []


def test_an_unknown_target_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["targets", "onx"]) == 2
    assert "Did you mean 'onnx'?" in capsys.readouterr().err
