"""Pictures from a device: only what its runner announced, in its size, takes the place here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from edgegen_runner.png import encode_png

from edgegen.core.errors import DeviceError, EdgegenError, RunnerError
from edgegen.devices.device import Device
from edgegen.runner.received import Announced, fetch_picture
from tests.devices.stand_ins import OtherMachine, device

PIXELS = np.random.default_rng(7).integers(0, 256, (48, 64, 3), dtype=np.uint8)
ANNOUNCED = Announced(width=64, height=48, sha256=hashlib.sha256(PIXELS.tobytes()).hexdigest())


@pytest.fixture
def connected(tmp_path: Path) -> Iterator[Device]:
    with device(OtherMachine(tmp_path / "home")) as found:
        yield found


def fetch(connected: Device, data: bytes, destination: Path, announced: Announced) -> None:
    folder = Path(connected.agent.request("make_run", name="run-1")["path"])
    (folder / "0.png").write_bytes(data)
    fetch_picture(connected, str(folder / "0.png"), destination, announced)


def test_a_picture_that_was_announced_comes(connected: Device, tmp_path: Path) -> None:
    data = encode_png(PIXELS)
    fetch(connected, data, tmp_path / "a.png", ANNOUNCED)
    assert (tmp_path / "a.png").read_bytes() == data
    fetch(connected, data, tmp_path / "b.png", Announced(width=64, height=48))


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (encode_png(PIXELS[::-1]), DeviceError, "another picture than its runner made"),
        (encode_png(PIXELS[:8, :8]), DeviceError, "8 × 8 pixels"),
        (encode_png(PIXELS)[:-30], RunnerError, "not what the runner writes"),
        (b"#!/bin/sh\n", RunnerError, "PNG signature"),
        (b"", RunnerError, "PNG signature"),
        (bytes(200_000), DeviceError, "are the most that it can have"),
    ],
    ids=["other pixels", "other size", "cut", "a script", "empty", "too large"],
)
def test_another_picture_is_refused_and_what_was_there_stays(
    connected: Device, tmp_path: Path, data: bytes, error: type[EdgegenError], says: str
) -> None:
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises(error, match=says):
        fetch(connected, data, tmp_path / "a.png", ANNOUNCED)
    assert (tmp_path / "a.png").read_bytes() == b"mine"
    assert not list(tmp_path.glob(".edgegen-*"))


def test_a_picture_that_no_runner_draws_is_refused_before_it_travels(
    connected: Device, tmp_path: Path
) -> None:
    with pytest.raises(DeviceError, match="at most"):
        fetch(connected, b"", tmp_path / "a.png", Announced(width=1 << 20, height=1 << 20))
