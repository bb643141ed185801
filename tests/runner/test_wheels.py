"""Which wheels a device gets, and how they are fetched: by the real pip, from a folder."""

from __future__ import annotations

import importlib.util
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.core.codec import load_toml
from edgegen.core.errors import DeviceError, IntegrityError, ResourceError
from edgegen.core.shipped import shipped
from edgegen.runner.wheels import Pin, _Pins, download, wheels_for
from tests.runner.fake_parts import write_wheel

PINS = load_toml(_Pins, shipped("device_runners") / "wheels.toml").wheels


@pytest.mark.parametrize("pin", PINS, ids=lambda pin: f"{pin.name}-{pin.python}-{pin.machine}")
def test_pin_names_one_file(pin: Pin) -> None:
    assert len(pin.sha256) == 64
    assert set(pin.sha256) <= set("0123456789abcdef")
    assert pin.tag.endswith(("_" + pin.machine, "_universal2"))
    assert (pin.glibc is not None) == (pin.system == "Linux")


def test_every_python_and_system_has_both_wheels_once() -> None:
    counts = Counter((pin.system, pin.machine, pin.python, pin.name) for pin in PINS)
    assert set(counts.values()) == {1}
    pythons = {f"3.{minor}" for minor in range(9, 15)}
    for system, machine in (("Linux", "aarch64"), ("Linux", "x86_64"), ("Darwin", "arm64")):
        for name in ("numpy", "onnxruntime"):
            have = {
                p.python for p in PINS if (p.system, p.machine, p.name) == (system, machine, name)
            }
            assert have == pythons


@pytest.mark.parametrize(
    ("python", "system", "machine", "glibc", "versions"),
    [
        ((3, 11), "Linux", "aarch64", (2, 36), ("2.4.6", "1.32.0")),  # Raspberry Pi OS 12
        ((3, 13), "Linux", "aarch64", (2, 41), ("2.4.6", "1.32.0")),  # Raspberry Pi OS 13
        ((3, 10), "Linux", "aarch64", (2, 35), ("2.2.6", "1.23.2")),  # JetPack 6
        ((3, 9), "Linux", "aarch64", (2, 31), ("2.0.2", "1.19.2")),  # Debian 11, JetPack 5 + 3.9
        ((3, 12), "Linux", "AMD64", (2, 39), ("2.4.6", "1.32.0")),
        ((3, 12), "Linux", "arm64", (2, 39), ("2.4.6", "1.32.0")),
        ((3, 9), "Darwin", "arm64", None, ("2.0.2", "1.19.2")),  # the Python of Apple's own tools
    ],
)
def test_device_gets_the_newest_wheels_of_its_python(
    python: tuple[int, int],
    system: str,
    machine: str,
    glibc: tuple[int, int] | None,
    versions: tuple[str, str],
) -> None:
    pins = wheels_for(python, system, machine, glibc)
    assert tuple(pin.name for pin in pins) == ("numpy", "onnxruntime")
    assert tuple(pin.version for pin in pins) == versions


@pytest.mark.parametrize("runtime", ["openvino", "ai-edge-litert"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("minor", [10, 11, 12, 13, 14])
def test_device_gets_another_runtime_where_it_is_asked_for(
    runtime: str, machine: str, minor: int
) -> None:
    pins = wheels_for((3, minor), "Linux", machine, (2, 39), runtime=runtime)
    assert [pin.name for pin in pins] == ["numpy", runtime]


@pytest.mark.parametrize(
    ("python", "system", "machine", "glibc", "said", "hint"),
    [
        ((3, 9), "Linux", "x86_64", (2, 39), "openvino are known for Python 3.9", "3.10, 3.11"),
        ((3, 11), "Linux", "aarch64", (2, 31), "openvino 2026.4.1 needs 2.35", "newer system"),
        ((3, 12), "Darwin", "arm64", None, "openvino are known", "none of openvino for it"),
    ],
)
def test_device_that_no_wheel_of_openvino_fits_is_told_why(
    python: tuple[int, int],
    system: str,
    machine: str,
    glibc: tuple[int, int] | None,
    said: str,
    hint: str,
) -> None:
    with pytest.raises(DeviceError) as caught:
        wheels_for(python, system, machine, glibc, runtime="openvino")
    assert said in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("python", "system", "machine", "glibc", "said", "hint"),
    [
        ((3, 8), "Linux", "aarch64", (2, 31), "needs 3.9", "linux-arm64"),  # JetPack 5
        ((3, 11), "Linux", "armv7l", (2, 36), "32-bit ARM", "64-bit system"),
        ((3, 11), "Linux", "armv6l", (2, 36), "32-bit ARM", "64-bit system"),
        ((3, 12), "Linux", "aarch64", None, "not glibc", "linux-arm64"),  # Alpine
        (
            (3, 12),
            "Linux",
            "aarch64",
            (2, 27),
            "glibc 2.27; onnxruntime 1.32.0 needs 2.28",
            "newer",
        ),
        ((3, 99), "Linux", "x86_64", (2, 39), "Python 3.99 on x86_64", "3.9, 3.10"),
        ((3, 12), "Darwin", "x86_64", None, "Darwin on x86_64", ""),
        ((3, 12), "Linux", "riscv64", (2, 39), "Linux on riscv64", ""),
    ],
)
def test_device_that_no_wheel_fits_is_told_why(
    python: tuple[int, int],
    system: str,
    machine: str,
    glibc: tuple[int, int] | None,
    said: str,
    hint: str,
) -> None:
    with pytest.raises(DeviceError) as caught:
        wheels_for(python, system, machine, glibc)
    assert said in caught.value.message
    assert hint in caught.value.hint


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let pip know one folder, and no index."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("no pip here: python -m ensurepip")
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def test_wheels_are_fetched_once_and_checked(index: Path, tmp_path: Path) -> None:
    made = [write_wheel(index, name, {f"{name}/a.py": b""}) for name in ("numpy", "onnxruntime")]
    pins = tuple(pin for pin, _ in made)
    paths = download(pins, tmp_path / "wheels")
    assert [path.name for path in paths] == [path.name for _, path in made]
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for _, path in made]
    for _, path in made:
        path.unlink()
    assert download(pins, tmp_path / "wheels") == paths


def test_wheel_of_other_bytes_is_refused(index: Path, tmp_path: Path) -> None:
    pin, _ = write_wheel(index, "numpy", {"numpy/a.py": b""})
    with pytest.raises(IntegrityError, match="not the one that is pinned"):
        download((replace(pin, sha256="0" * 64),), tmp_path / "wheels")


def test_wheel_that_no_index_has_is_an_error_with_the_command(index: Path, tmp_path: Path) -> None:
    pin, _ = write_wheel(index, "numpy", {"numpy/a.py": b""})
    with pytest.raises(ResourceError, match="could not fetch numpy 9") as caught:
        download((replace(pin, version="9"),), tmp_path / "wheels")
    assert "numpy==9" in caught.value.hint
