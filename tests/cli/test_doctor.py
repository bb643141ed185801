from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from edgegen.cli.main import run
from edgegen.doctor import requirements as needs
from edgegen.doctor import software
from edgegen.doctor.requirements import (
    install_command,
    is_met,
    requirements,
)
from edgegen.doctor.system import check_hub, check_machine, check_sensors

Findings = list[dict[str, object]]


def findings(capsys: pytest.CaptureFixture[str]) -> Findings:
    found = json.loads(capsys.readouterr().out)["findings"]
    assert isinstance(found, list)
    return found


def test_the_doctor_says_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    found = {f"{each['group']}: {each['name']}": each for each in findings(capsys)}
    assert found["edgegen: numpy"]["found"] == metadata.version("numpy")
    for name in ("target onnx: onnxruntime", "devices: adb", "machine: memory", "disk: cache"):
        assert name in found


def test_the_doctor_writes_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    page = capsys.readouterr().out
    for group in ("edgegen", "target onnx", "devices", "machine", "disk", "hub", "sensors"):
        assert f"\n{group}\n" in f"\n{page}"


def test_whatever_is_missing_comes_with_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    run(["doctor", "--json"])
    missing = [each for each in findings(capsys) if each["status"] == "missing"]
    assert all(each["remedy"] for each in missing)


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    real = needs.installed_version

    def version(distribution: str) -> str | None:
        return None if distribution in names else real(distribution)

    monkeypatch.setattr(software, "installed_version", version)


@pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "--json"]], ids=str)
def test_without_something_essential_it_ends_with_3(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "numpy")
    assert run(arguments) == 3
    assert "numpy" in capsys.readouterr().out


def test_without_a_toolkit_it_ends_with_0_and_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "onnxruntime")
    assert run(["doctor", "--json"]) == 0
    (found,) = (each for each in findings(capsys) if each["name"] == "onnxruntime")
    assert found["status"] == "missing"
    assert str(found["remedy"]).endswith('[onnx]"')
    assert " -m pip install " in str(found["remedy"])


def test_targets_say_what_they_lack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "onnx", "torch")
    assert run(["targets"]) == 0
    assert "onnx needs onnx, torch: " in capsys.readouterr().out


def test_an_older_toolkit_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "installed_version", lambda name: "0.9")
    assert "torch" in software.missing_for("onnx")


@pytest.mark.parametrize(
    ("version", "minimum", "fits"),
    [
        ("2.13.0+cpu", "2.9", True),
        ("2.9", "2.9.0", True),
        ("2.8.1", "2.9", False),
        ("10.0", "9.9", True),
        ("3.0.0rc1", "3", True),
        ("1.0", None, True),
    ],
)
def test_versions_are_compared_by_their_numbers(
    version: str, minimum: str | None, fits: bool
) -> None:
    requirement = Requirement("x" if minimum is None else f"x>={minimum}")
    assert is_met(requirement, version) is fits


def test_an_extra_that_needs_another_has_its_needs() -> None:
    openvino = {requirement.name for requirement in requirements("openvino")}
    assert {"openvino", "openvino-tokenizers", "torch", "diffusers"} <= openvino
    assert "edgegen" not in openvino
    assert {requirement.name for requirement in requirements("all")} >= openvino


def test_a_wheel_tells_its_needs_as_the_checkout_does(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {extra: requirements(extra) for extra in (None, "reference", "openvino")}
    # As hatchling writes them: extras as markers, each requirement by itself.
    monkeypatch.setattr(
        metadata,
        "requires",
        lambda name: [
            *map(str, expected[None]),
            *(f"{each}; extra == 'reference'" for each in expected["reference"]),
            "edgegen[reference]; extra == 'openvino'",
            *(
                f"{each} ; extra == 'openvino'"
                for each in expected["openvino"]
                if each not in expected["reference"]
            ),
        ],
    )
    monkeypatch.setattr(needs, "_checkout", lambda: None)
    assert {extra: requirements(extra) for extra in expected} == expected
    assert install_command("reference").endswith(' -m pip install "edgegen[reference]"')


@pytest.mark.parametrize("installed", ["checkout", "wheel"])
def test_what_only_another_system_needs_is_not_looked_for(
    installed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = f"sys_platform == '{sys.platform}'", "sys_platform == 'elsewhere'"
    needed = [f"one; {here}", f"two; {elsewhere}"]
    wanted = [f"three; {here}", f"four; {elsewhere}"]
    if installed == "checkout":
        project = f"[project]\ndependencies = {needed}\noptional-dependencies.x = {wanted}\n"
        (tmp_path / "pyproject.toml").write_text(project)
    of_extra = [f"{it} and extra == 'x'" for it in wanted]
    monkeypatch.setattr(metadata, "requires", lambda name: [*needed, *of_extra])
    monkeypatch.setattr(needs, "_checkout", lambda: tmp_path if installed == "checkout" else None)
    assert requirements(None) == (Requirement("one"),)
    assert requirements("x") == (Requirement("three"),)


def test_a_checkout_is_installed_from_where_it_is() -> None:
    root = Path(__file__).parents[2]
    assert install_command("onnx").endswith(f'pip install -e "{root}[onnx]"')
    assert requirements(None)[0] == Requirement("click>=8.4.2")


def test_the_token_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    found = list(check_hub())
    assert not [each for each in found if "hf_secret" in f"{each.found}{each.remedy}"]
    assert next(each for each in found if each.name == "login").status == "ok"


def test_the_hub_says_that_it_is_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "hub" / "models--a--b").mkdir(parents=True)
    found = {each.name: each for each in check_hub()}
    assert "HF_HUB_OFFLINE" in found["network"].found
    assert found["cache"].found.startswith("1 models")
    assert found["login"].remedy == "hf auth login"


def test_features_that_make_networks_fast_are_named(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("flags\t: sse avx2 avx512_vnni hypervisor\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1000 kB\nMemAvailable: 500 kB\n")
    found = {each.name: each.found for each in check_machine(tmp_path)}
    assert found["features"] == "avx2, avx512_vnni"
    assert "virtual machine" in found
    assert found["pressure"] == "the kernel does not tell it"


def test_what_no_sensor_tells_is_a_note_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = list(check_sensors(tmp_path))
    assert [each.name for each in found] == ["temperature", "clock rate", "throttling", "energy"]
    assert {each.status for each in found} == {"note"}


def test_a_sensor_tells_what_it_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text("40000")
    found = {each.name: each.status for each in check_sensors(tmp_path)}
    assert found["thermal_zone"] == "ok"
    assert "temperature" not in found
    assert found["energy"] == "note"
