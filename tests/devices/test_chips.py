"""What a device says of its chip and of the way to its NPU, and what follows from that."""

from __future__ import annotations

import grp
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from edgegen_runner.agent.facts import describe
from edgegen_runner.agent.paths import Folders

from edgegen.core.codec import decode
from edgegen.core.errors import ConfigError
from edgegen.devices.chips import cargo_for, chip_of, require_chip
from edgegen.devices.device import Device
from edgegen.devices.discovery import _lacks
from edgegen.devices.facts import DeviceFacts
from edgegen.runner.provision import _runtimes_after
from edgegen.runner.wheels import wheels_for
from tests.tiny_packages import COMPILED, for_chips, onnx_package


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What this machine's agent says, in which a test puts another chip."""
    return describe(Folders(tmp_path_factory.mktemp("root")))


def facts(described: dict[str, object], **changed: object) -> DeviceFacts:
    told = {**described, "glibc": [2, 39], "npu_nodes": [], **changed}
    return decode(DeviceFacts, told, source="test")


def device(facts: DeviceFacts) -> Device:
    return cast("Device", SimpleNamespace(is_local=False, address="ssh://board", facts=facts))


def board(root: Path, soc: str | None, nodes: tuple[str, ...] = ()) -> Path:
    """Write what the kernel of a board says."""
    (root / "dev").mkdir(parents=True)
    if soc is not None:
        (root / "sys/devices/soc0").mkdir(parents=True)
        (root / "sys/devices/soc0/machine").write_text(f"{soc}\n", encoding="utf-8")
    for node in nodes:
        (root / "dev" / node).touch()
    return root


def test_a_board_says_its_chip_and_the_nodes_of_its_npu(tmp_path: Path) -> None:
    root = board(tmp_path / "board", "QCS9075", ("fastrpc-cdsp", "fastrpc-cdsp-secure", "null"))
    told = describe(Folders(tmp_path / "edgegen"), root)
    assert told["soc"] == "QCS9075"
    group = grp.getgrgid(os.getgid()).gr_name
    assert told["npu_nodes"] == [
        {"path": f"/dev/{name}", "group": group, "usable": True}
        for name in ("fastrpc-cdsp", "fastrpc-cdsp-secure")
    ]


def test_another_machine_says_neither(tmp_path: Path) -> None:
    told = describe(Folders(tmp_path / "edgegen"), board(tmp_path / "board", None))
    assert (told["soc"], told["npu_nodes"]) == (None, [])


def test_a_devices_chip_is_what_it_says_else_its_profiles(described: dict[str, object]) -> None:
    assert (chip := chip_of(facts(described, soc="SM8750"))) is not None
    assert chip.name == "snapdragon-8-elite"
    assert chip_of(facts(described, soc="MT6989")) is None
    memory = 12 << 30
    phone = facts(described, soc=None, model="SM-S928B", memory_bytes=memory)
    assert (chip := chip_of(phone)) is not None
    assert chip.name == "snapdragon-8-gen-3"


@pytest.mark.parametrize(
    ("soc", "says", "hint"),
    [
        ("SM8750", r"has Snapdragon 8 Elite \(SM8750\)", "--chip snapdragon-8-elite"),
        ("MT6989", "has MT6989", "without --npu"),
    ],
)
def test_a_package_for_another_chip_is_refused_before_anything_travels(
    soc: str, says: str, hint: str, described: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        require_chip(device(facts(described, soc=soc)), (COMPILED,))
    assert "compiled for the NPU of snapdragon-8-gen-3 (SM8650)" in caught.value.message
    assert hint in caught.value.hint


def test_the_right_chip_and_one_that_is_not_told_are_taken(described: dict[str, object]) -> None:
    assert require_chip(device(facts(described, soc="SM8650")), (COMPILED,)) == COMPILED.chip
    assert require_chip(device(facts(described, soc=None, model=None)), (COMPILED,)) is None
    assert require_chip(device(facts(described, soc="MT6989")), ()) is None


ELITE = replace(COMPILED, chip="snapdragon-8-elite", part="SM8750", architecture=79)


def test_of_several_chips_a_device_gets_its_own(
    described: dict[str, object], tmp_path: Path
) -> None:
    both = (COMPILED, ELITE)
    assert require_chip(device(facts(described, soc="SM8750")), both) == ELITE.chip
    with pytest.raises(ConfigError, match=r"gen-3 .SM8650. and snapdragon-8-elite .SM8750."):
        require_chip(device(facts(described, soc="MT6989")), both)
    package = for_chips(onnx_package(tmp_path / "package"), COMPILED.chip, ELITE.chip)
    sent = cargo_for(device(facts(described, soc="SM8750")), package)
    assert {it.path.split("/")[1] for it in sent.files if it.path.endswith(".onnx")} == {ELITE.chip}
    with pytest.raises(ConfigError, match="has snapdragon-8-elite, not snapdragon-8-gen-3"):
        cargo_for(device(facts(described, soc="SM8750")), package, wanted=COMPILED.chip)
    silent = device(facts(described, soc=None, model=None))
    assert cargo_for(silent, package, wanted=ELITE.chip).version == sent.version
    assert len(cargo_for(silent, package).files) > len(sent.files)


NODE = {"path": "/dev/fastrpc-cdsp", "group": "fastrpc"}


@pytest.mark.parametrize(
    ("soc", "nodes", "lacks"),
    [
        ("QCS9075", [], "the NPU's device node, /dev/fastrpc-cdsp"),
        ("QCS9075", [{**NODE, "usable": False}], "is for the group fastrpc"),
        ("QCS9075", [{**NODE, "usable": True}], None),
        ("BCM2712", [], None),
    ],
)
def test_what_keeps_programs_from_the_npu_is_told_with_what_mends_it(
    soc: str, nodes: list[dict[str, object]], lacks: str | None, described: dict[str, object]
) -> None:
    told = _lacks("ssh://board", facts(described, soc=soc, npu_nodes=nodes), None)
    found = [it for it in told if "fastrpc" in it.what]
    assert [lacks in it.what for it in found] == [True] if lacks else found == []
    if nodes and lacks:
        assert found[0].command.startswith("sudo usermod -aG fastrpc")


def test_the_npus_runtime_is_set_up_beside_onnxruntime() -> None:
    assert _runtimes_after(None, ["onnxruntime-qnn"]) == ["onnxruntime", "onnxruntime-qnn"]
    pins = wheels_for((3, 12), "Linux", "aarch64", (2, 39), runtime="onnxruntime-qnn")
    assert [(pin.name, pin.version) for pin in pins][1] == ("onnxruntime-qnn", "2.7.0")
