"""Pictures that a device made: brought here only as what the runner announced."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import DeviceError
from edgegen.devices.device import Device
from edgegen.runner.png import MOST_PIXELS, read_pixels

_MOST_CHANNELS = 3
_HEADERS_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A picture as the runner's event tells it; `sha256` is of its pixels, None where unknown."""

    width: int
    height: int
    sha256: str | None = None

    @property
    def most_bytes(self) -> int:
        """Return what a PNG file of this size has at most: deflate adds a little, at worst."""
        rows = self.height * (1 + self.width * _MOST_CHANNELS)
        return rows + rows // 1000 + _HEADERS_BYTES


def fetch_picture(device: Device, path: str, destination: Path, announced: Announced) -> None:
    """Bring a picture from a device; what was at `destination` stays where it is refused.

    Raises DeviceError where the picture has another size or other pixels than were announced, and
    RunnerError where it is no picture of the runner's.
    """
    if not 0 < announced.width * announced.height <= MOST_PIXELS:
        raise DeviceError(
            f"{device.address} made a picture of {announced.width} × {announced.height} pixels; "
            f"at most {MOST_PIXELS} are taken.",
            hint=f"See what runs there: edgegen devices show {device.address}",
        )

    def check(picture: Path) -> None:
        pixels = read_pixels(picture)
        height, width = pixels.shape[:2]
        sha256 = hashlib.sha256(pixels.tobytes()).hexdigest()
        if (width, height) != (announced.width, announced.height) or (
            announced.sha256 not in (None, sha256)
        ):
            raise DeviceError(
                f"{device.address} sent another picture than its runner made: "
                f"{width} × {height} pixels, sha256 {sha256[:12]}….",
                hint="Its card or memory is failing, or something else answers there: draw again.",
            )

    device.agent.get(path, destination, most_bytes=announced.most_bytes, check=check)
