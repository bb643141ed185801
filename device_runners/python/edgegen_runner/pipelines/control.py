"""ControlNets and T2I-Adapters: what pictures add to the features of the denoiser.

Source: diffusers/pipelines/controlnet/pipeline_controlnet{,_img2img,_inpaint}.py (the XL ones
agree), diffusers/pipelines/t2i_adapter/pipeline_stable_diffusion{,_xl}_adapter.py, and
diffusers/models/{controlnets/controlnet,controlnets/multicontrolnet,adapter}.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from .. import images
from ..errors import RunnerFailure
from ..package import Component, Package
from ..request import Request
from ..residency import Components

Array = npt.NDArray[Any]
Residuals = Mapping[str, Array]
"""What is added to features of the denoiser, by the denoiser's inputs."""

PICTURES = {"controlnet": "controlnet_cond", "t2i_adapter": "control_image"}
"""Role of a network that steers -> its input with the picture."""
ADAPTER = "t2i_adapter"
"""It reads its picture alone, once an image."""


@dataclass(frozen=True)
class Strength:
    """How strongly a network acts, and on which part of an image's steps, 0…1."""

    scale: float
    start: float
    end: float

    def at(self, index: int, calls: int) -> float:
        """Return the scale in a call of an image, of so many: 0 outside of its part."""
        outside = index / calls < self.start or (index + 1) / calls > self.end
        return 0.0 if outside else self.scale


class Controls:
    """The networks of a package that steer it, with the pictures of a request; there may be none.

    ``scale`` is how strongly they act by default. Raises RunnerFailure (bad-request) where the
    request does not have a picture for each, or numbers that go with them.
    """

    def __init__(
        self, components: Components, request: Request, *, width: int, height: int, scale: float
    ) -> None:
        package = components.package
        self._components = components
        self._networks = tuple(it for role in PICTURES for it in package.all_of(role))
        self._features: dict[str, dict[str, Array]] = {}
        self._shapes = {
            name: tensor.shape
            for network in self._networks[:1]
            for name, tensor in package.by_role("denoiser").inputs.items()
            if name in network.outputs
        }
        self._size = {"height": height, "width": width}
        self._strengths = _strengths(request, self._networks, scale)
        pictures = _pictures(request, self._networks)
        self._pictures = [images.to_levels(images.resize(it, height, width)) for it in pictures]
        pools = [_pools(it) for it in self._networks]
        self._guesses = request.guess_mode or any(pools[:1])
        if request.guess_mode and any(it.role == ADAPTER for it in self._networks):
            raise RunnerFailure(
                "bad-request", "T2I-Adapters have no guess mode.", "Leave --guess-mode out."
            )
        self._pools = pools

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the components that steer an image."""
        return tuple(it.name for it in self._networks)

    def begin(self) -> None:
        """Forget what was found in the pictures: another image begins."""
        self._features.clear()

    def scales(self, index: int, calls: int) -> tuple[float, ...]:
        """Return how strongly each acts in a call of an image, of so many."""
        return tuple(it.at(index, calls) for it in self._strengths)

    def steer(
        self, chunks: Sequence[Mapping[str, Array]], scales: Sequence[float], *, guided: bool
    ) -> list[Mapping[str, Array]]:
        """Return the denoiser's inputs, chunk by chunk, with what is added to its features.

        A chunk has as many rows as the denoiser takes in a call. With guidance the rows without the
        prompt come first; where the networks guess, those are not steered.
        """
        if not self._networks:
            return list(chunks)
        steered: list[Mapping[str, Array]] = []
        for place, chunk in enumerate(chunks):
            rows = len(chunk["sample"])
            alone = guided and self._guesses
            if alone and len(chunks) > 1:  # a row a chunk, and this is the one without the prompt
                added = self._added(chunk, scales) if place else self._nothing(rows)
            else:
                added = self._added(chunk, scales)
                if alone:
                    for value in added.values():
                        value[: rows // 2] = 0.0
            steered.append({**chunk, **added})
        return steered

    def _added(self, chunk: Mapping[str, Array], scales: Sequence[float]) -> dict[str, Array]:
        """Return the sum of what the networks compute, as large as the denoiser takes it."""
        rows = len(chunk["sample"])
        added = self._nothing(rows)
        for network, picture, scale, pools in zip(
            self._networks, self._pictures, scales, self._pools
        ):
            if scale == 0.0:
                continue
            computed = self._computed(network, picture, chunk)
            factors = _factors(scale, len(computed), guesses=self._guesses and not pools)
            for name, factor in zip(network.outputs, factors):
                added[name] += computed[name] * factor
        return added

    def _computed(
        self, network: Component, picture: Array, chunk: Mapping[str, Array]
    ) -> Mapping[str, Array]:
        """Return what a network makes of its picture: of a row each, or one for all of them."""
        if network.role == ADAPTER:
            if network.name not in self._features:
                given = {PICTURES[ADAPTER]: picture}
                self._features[network.name] = self._components.run(network.name, given)
            return self._features[network.name]
        rows = len(chunk["sample"])
        cond = np.concatenate([picture] * rows) if rows > 1 else picture
        return self._components.run(network.name, {**chunk, PICTURES[network.role]: cond})

    def _nothing(self, rows: int) -> dict[str, Array]:
        """Return zeros, as diffusers adds where no ControlNet acts."""
        return {
            name: np.zeros((rows, *map(self._axis, shape[1:])), np.float32)
            for name, shape in self._shapes.items()
        }

    def _axis(self, axis: Any) -> int:
        """Return the size of an axis such as ``height / 16``; odd ones halve to the larger half."""
        if isinstance(axis, int):
            return axis
        name, _, divisor = axis.partition(" / ")
        try:
            return -(-self._size[name] // int(divisor or 1))
        except (KeyError, ValueError, ZeroDivisionError):
            raise RunnerFailure(
                "bad-package",
                f"The denoiser has an axis {axis!r}, which this runner does not know.",
                "Build the package again.",
            ) from None


def control_size(package: Package, request: Request) -> Optional[tuple[int, int]]:
    """Return width and height of the first control picture where an image gets them.

    So do diffusers' pipelines, down to whole latents. A package with fixed shapes has its own.
    """
    _, _, rows, columns = package.by_role("denoiser").inputs["sample"].shape
    if not request.control or isinstance(rows, int) or isinstance(columns, int):
        return None
    factor = package.generation.vae_scale_factor
    if package.all_of(ADAPTER):  # which cuts a picture into squares
        factor *= package.generation.latent_multiple
    height, width = images.read_picture(request.control[0]).shape[:2]
    return max(width // factor * factor, factor), max(height // factor * factor, factor)


def _pictures(request: Request, networks: Sequence[Component]) -> list[images.Pixels]:
    """Read a picture for each network."""
    given = request.control or ()
    if not networks:
        for name in ("control", "control_scale", "control_start", "control_end", "guess_mode"):
            if getattr(request, name):
                raise RunnerFailure(
                    "bad-request",
                    "This package has neither ControlNet nor T2I-Adapter: no picture steers it.",
                    f"Leave --{name.replace('_', '-')} out, or package the model again with "
                    "--controlnet.",
                )
        return []
    if len(given) != len(networks):
        names = ", ".join(it.name for it in networks)
        raise RunnerFailure(
            "bad-request",
            f"This package is steered by {len(networks)} picture{'s' * (len(networks) > 1)} "
            f"({names}); given: {len(given) or 'none'}.",
            "Give --control IMAGE once for each, in this order.",
        )
    return [_picture(path, network) for path, network in zip(given, networks)]


def _picture(path: Path, network: Component) -> images.Pixels:
    """Read a picture in gray or colours, as the network takes it."""
    pixels = images.read_picture(path)
    is_gray = network.inputs[PICTURES[network.role]].shape[1] == 1
    return images.to_gray(pixels) if is_gray else images.to_rgb(pixels)


def _strengths(
    request: Request, networks: Sequence[Component], scale: float
) -> tuple[Strength, ...]:
    scales = _one_each("control_scale", request.control_scale, networks, scale)
    starts = _one_each("control_start", request.control_start, networks, 0.0)
    ends = _one_each("control_end", request.control_end, networks, 1.0)
    strengths = tuple(map(Strength, scales, starts, ends))
    for it in strengths:
        if it.start >= it.end:
            raise RunnerFailure(
                "bad-request",
                f"A picture would steer from {it.start:g} to {it.end:g} of the steps.",
                "Give a start below the end, or --control-scale 0 for none at all.",
            )
    return strengths


def _one_each(
    name: str,
    given: Optional[Sequence[float]],
    networks: Sequence[Component],
    default: float,
) -> Sequence[float]:
    """Return a number for each network: one is for all of them."""
    if not given:
        return [default] * len(networks)
    if len(given) == 1:
        return [given[0]] * len(networks)
    if networks and len(given) != len(networks):
        raise RunnerFailure(
            "bad-request",
            f"{name} has {len(given)} numbers, and {len(networks)} networks steer the package.",
            f"Give --{name.replace('_', '-')} once for all, or once for each.",
        )
    return given


def _factors(scale: float, count: int, *, guesses: bool) -> Array:
    """Return what each residual is multiplied with: less for the first ones in guess mode."""
    if not guesses:
        return np.full(count, scale, np.float32)
    return np.logspace(-1, 0, count, dtype=np.float32) * np.float32(scale)


def _pools(network: Component) -> bool:
    """Return whether a ControlNet's residuals are one number a channel."""
    return tuple(network.outputs[network.first_output].shape[2:]) == (1, 1)
