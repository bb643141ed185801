"""Which chip's contexts the runner loads, of a package that was compiled for several."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from edgegen_runner import chips as chips_module
from edgegen_runner import package as package_module
from edgegen_runner.chips import PackagedChip, choose_chip
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.package import load_package

from tests.tiny_packages import for_chips, onnx_package

GEN_3 = PackagedChip("snapdragon-8-gen-3", "SM8650", 75, 57, "snapdragon-8-gen-3", {"unet": 2})
ELITE = PackagedChip("snapdragon-8-elite", "SM8750", 79, 69, "snapdragon-8-elite", {})
BOTH = (GEN_3, ELITE)


def here(*chips: PackagedChip) -> Callable[[PackagedChip], bool]:
    return lambda chip: chip in chips


@pytest.fixture(autouse=True)
def phone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that emulates nothing."""
    monkeypatch.setattr(chips_module.platform, "machine", lambda: "aarch64")


@pytest.mark.parametrize("wanted", ["snapdragon-8-elite", "SM8750"])
def test_the_wanted_chip_goes_before_all(wanted: str) -> None:
    assert choose_chip(BOTH, here(GEN_3), wanted, lambda: "SM8650") is ELITE


def test_the_only_one_whose_files_are_here_is_taken_whatever_the_machine_says() -> None:
    assert choose_chip(BOTH, here(ELITE), None, lambda: None) is ELITE
    assert choose_chip((GEN_3,), here(), None, lambda: "SM8750") is GEN_3


def test_of_several_the_machines_own_is_taken() -> None:
    assert choose_chip(BOTH, here(*BOTH), None, lambda: "SM8750") is ELITE


@pytest.mark.parametrize(
    ("own", "said"), [("MT6989", "This device has MT6989"), (None, "doesn't say which chip")]
)
def test_a_machine_with_another_chip_is_refused_and_so_is_one_that_is_silent(
    own: str | None, said: str
) -> None:
    with pytest.raises(RunnerFailure, match=said) as caught:
        choose_chip(BOTH, here(*BOTH), None, lambda: own)
    assert caught.value.kind == "bad-request"
    assert "snapdragon-8-gen-3, snapdragon-8-elite" in caught.value.message


def test_an_emulator_of_all_chips_takes_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chips_module.platform, "machine", lambda: "x86_64")
    assert choose_chip(BOTH, here(*BOTH), None, lambda: None) is GEN_3


def test_an_unknown_chip_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(RunnerFailure, match=r"for snapdragon-8-gen-3, .*not for SM1") as caught:
        choose_chip(BOTH, here(*BOTH), "SM1", lambda: None)
    assert caught.value.kind == "bad-request"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return for_chips(onnx_package(tmp_path / "package"), GEN_3.chip, ELITE.chip)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    return lambda part: monkeypatch.setattr(package_module, "own_part", lambda: part)


def test_each_component_is_the_chips(package: Path, own: Callable[[str | None], None]) -> None:
    own("SM8750")
    unet = load_package(package, verify=True).component("unet")
    assert unet.path == package / "unet" / "snapdragon-8-elite" / "model.onnx"
    assert unet.compiled is not None
    assert (unet.compiled.part, unet.compiled.on_processor) == ("SM8750", 0)
    other = load_package(package, chip="snapdragon-8-gen-3").component("unet")
    assert other.path == package / "unet" / "snapdragon-8-gen-3" / "model.onnx"
    assert other.compiled is not None
    assert (other.compiled.part, other.compiled.on_processor) == ("SM8650", 2)


def test_other_chips_files_may_be_missing_and_nothing_else_may(
    package: Path, own: Callable[[str | None], None]
) -> None:
    own(None)
    for folder in package.glob("*/snapdragon-8-gen-3"):
        shutil.rmtree(folder)
    load_package(package, verify=True)
    (package / "unet" / "snapdragon-8-elite" / "model.onnx").write_bytes(b"changed")
    with pytest.raises(RunnerFailure, match="its sha256 differs"):
        load_package(package, verify=True)
    (package / "unet" / "snapdragon-8-elite" / "model.onnx").unlink()
    with pytest.raises(RunnerFailure, match="is missing"):
        load_package(package, chip="snapdragon-8-elite")


@pytest.mark.parametrize("folder", ["../x", "/x", "a/../../.."])
def test_a_chips_folder_that_leaves_the_package_is_refused(folder: str, package: Path) -> None:
    manifest = json.loads((package / "edgegen.json").read_text(encoding="utf-8"))
    manifest["compiled"][0]["folder"] = folder
    (package / "edgegen.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(RunnerFailure, match=r"leaves the package|is missing") as caught:
        load_package(package, chip="snapdragon-8-gen-3")
    assert caught.value.kind == "bad-package"


def test_what_was_compiled_before_there_were_several_is_read(tmp_path: Path) -> None:
    package = onnx_package(tmp_path / "package")
    manifest = json.loads((package / "edgegen.json").read_text(encoding="utf-8"))
    facts = {"chip": GEN_3.chip, "part": GEN_3.part, "architecture": 75, "soc_model": 57}
    manifest["compiled"] = {**facts, "on_processor": {}}
    (package / "edgegen.json").write_text(json.dumps(manifest), encoding="utf-8")
    unet = load_package(package).component("unet")
    assert unet.path == package / "unet" / "model.onnx"
    assert unet.compiled is not None
    assert unet.compiled.part == "SM8650"
