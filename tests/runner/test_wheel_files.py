"""Wheels of a folder: those that fit the device are installed, the others refused by name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edgegen.core.errors import ConfigError
from edgegen.devices.facts import DeviceFacts
from edgegen.runner.wheel_files import fitting_wheels, installs, parse_name, why_unfit


def board(**changes: Any) -> DeviceFacts:
    """What is asked of a device: a Raspberry Pi 5 with Bookworm, unless changed."""
    facts = {"python": "3.11.2", "system": "Linux", "machine": "aarch64", "glibc": (2, 36)}
    facts |= changes
    version = tuple(map(int, str(facts["python"]).split(".")[:2]))
    return cast("DeviceFacts", SimpleNamespace(**facts, python_version=version))


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("numpy-2.2.6-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl", {}, None),
        ("numpy-2.2.6-cp311-cp311-linux_aarch64.whl", {}, None),
        ("ai_edge_litert-2.1.0-1-cp311-cp311-manylinux_2_27_aarch64.whl", {}, None),
        ("thing-1.0-cp38-abi3-manylinux2014_aarch64.whl", {}, None),
        ("thing-1.0-py3-none-any.whl", {}, None),
        ("thing-1.0-py2.py3-none-any.whl", {}, None),
        ("thing-1.0-py3-none-manylinux_2_17_aarch64.whl", {}, None),
        ("onnxruntime_gpu-1.17.0-cp38-cp38-linux_aarch64.whl", {}, "another Python (cp38-cp38)"),
        ("numpy-2.2.6-cp313-cp313t-manylinux_2_28_aarch64.whl", {"python": "3.13.1"}, "cp313t"),
        ("thing-1.0-cp312-abi3-any.whl", {}, "another Python (cp312-abi3)"),
        ("thing-1.0-py2-none-any.whl", {}, "another Python"),
        ("numpy-2.2.6-pp311-pypy311_pp73-manylinux_2_28_aarch64.whl", {}, "another Python"),
        ("numpy-2.2.6-cp311-cp311-manylinux_2_17_x86_64.whl", {}, "is for x86_64"),
        ("numpy-2.2.6-cp311-cp311-win_amd64.whl", {}, "is for win_amd64; the device runs Linux"),
        ("numpy-2.2.6-cp311-cp311-macosx_14_0_arm64.whl", {}, "is for macosx_14_0_arm64"),
        ("numpy-2.2.6-cp311-cp311-linux_armv7l.whl", {}, "is for armv7l"),
        ("numpy-2.2.6-cp311-cp311-musllinux_1_2_aarch64.whl", {}, "is for musl"),
        ("numpy-2.2.6-cp311-cp311-musllinux_1_2_aarch64.whl", {"glibc": None}, None),
        ("numpy-2.2.6-cp311-cp311-manylinux2014_aarch64.whl", {"glibc": None}, "is for glibc"),
        (
            "onnxruntime-1.23-cp311-cp311-manylinux_2_39_aarch64.whl",
            {},
            "needs glibc 2.39 or newer; the device has 2.36",
        ),
        ("numpy-2.2.6-cp311-cp311-manylinux2014_aarch64.whl", {"glibc": (2, 16)}, "glibc 2.17"),
        (
            "numpy-2.2.6-cp311-cp311-macosx_14_0_arm64.whl",
            {"system": "Darwin", "machine": "arm64", "glibc": None},
            None,
        ),
    ],
)
def test_the_tags_of_a_wheel_are_compared_with_the_device(
    name: str, changes: dict[str, Any], reason: str | None
) -> None:
    why = why_unfit(parse_name(name), board(**changes))
    assert why is None if reason is None else reason in (why or "")


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).touch()
    return folder


NUMPY = "numpy-2.2.6-cp311-cp311-manylinux2014_aarch64.whl"
ORT = "onnxruntime_gpu-1.17.0-cp311-cp311-linux_aarch64.whl"


def test_the_wheels_that_fit_are_chosen_among_those_of_other_pythons(tmp_path: Path) -> None:
    others = (NUMPY.replace("311", "310"), NUMPY.replace("aarch64", "x86_64"))
    found = fitting_wheels(touch(tmp_path, NUMPY, ORT, *others), board())
    assert sorted(path.name for path in found) == [NUMPY, ORT]
    assert installs(found) == {"numpy": "2.2.6", "onnxruntime-gpu": "1.17.0"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((NUMPY, ORT.replace("311", "38")), "is for another Python"),
        ((NUMPY, NUMPY.replace("2.2.6", "2.2.5"), ORT), "several wheels of numpy"),
        ((NUMPY,), "has no wheels of numpy and a runtime"),
        ((ORT,), "has no wheels of numpy and a runtime"),
        ((NUMPY, ORT, "onnxruntime.whl"), "is not the name of a wheel"),
        ((NUMPY, ORT, "a b-1-py3-none-any.whl"), "is not the name of a wheel"),
    ],
)
def test_a_folder_that_cannot_be_installed_is_refused_by_name(
    names: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        fitting_wheels(touch(tmp_path, *names), board())
    assert caught.value.hint
