"""What draws: requests in, pixels out.

| drawer | draws with |
|---|---|
| `reference.drawer.TorchDrawer` | diffusers |
| `runner.drawers.PackageDrawer` | a package, in the runner, on this machine |
| `runner.drawers.DeviceDrawer` | a package on a device |

Who compares or judges pictures takes a `Drawer`; a new one passes tests/contracts/test_drawers.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""A picture: (height, width, 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawRequest:
    """A picture to draw; None: the model's own value.

    All random numbers of a picture come from its `seed`. Of the denoiser's calls, those from
    `guidance_start` to `guidance_stop`, 0…1, are guided, and one in `cache_interval` computes all
    layers, on features that it leaves to the others. The picture is decoded in tiles of
    `decode_tile` latents a side, None: at once. `image`, `mask` (white where to draw anew),
    `depth` and `strength` are for a model that starts from a picture; a picture sets the size.
    `image_guidance` is how closely a picture that is edited is kept to, `noise_level` the noise
    that is added to one that is enlarged, `class_label` the class of images that is drawn.
    `controls` are the pictures that steer it, one for each of its ControlNets. `scheduler` is a
    short name of the runner's (`euler`) or a diffusers class.
    """

    prompt: str | None = None
    negative_prompt: str | None = None
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    guidance_start: float | None = None
    guidance_stop: float | None = None
    cache_interval: int | None = None
    decode_tile: int | None = None
    scheduler: str | None = None
    width: int | None = None
    height: int | None = None
    image: Path | None = None
    mask: Path | None = None
    depth: Path | None = None
    strength: float | None = None
    controls: tuple[Path, ...] = ()
    image_guidance: float | None = None
    noise_level: int | None = None
    class_label: int | None = None
    picture_prompt: Path | None = None


class Drawer(Protocol):
    """Draws pictures."""

    def draw(self, requests: Sequence[DrawRequest]) -> list[Pixels]:
        """Draw a picture of each request, in their order.

        Raises ConfigError for a request that the model cannot draw, and what else the drawer does.
        """
        ...


def drawn_together(
    requests: Sequence[DrawRequest],
) -> Mapping[DrawRequest, list[DrawRequest]]:
    """Return the different requests, by what they have in common but for prompt and seed."""
    groups: dict[DrawRequest, list[DrawRequest]] = {}
    for request in dict.fromkeys(requests):
        groups.setdefault(replace(request, prompt=None, seed=0), []).append(request)
    return groups


def rgb(pixels: NDArray[np.uint8]) -> Pixels:
    """Return a picture of one channel or three, (height, width, channels), with three."""
    return np.ascontiguousarray(np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels)
