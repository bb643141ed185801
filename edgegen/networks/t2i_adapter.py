"""T2IAdapter: a small network that reads a picture once, and steers a UNet with what it found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.model import TensorSpec
from edgegen.networks import probes, residuals
from edgegen.networks.base import Neighbours, Part, Probing, Signature, Steering, Tensors, tensor

PICTURE = "control_image"
_KINDS = ("full_adapter", "full_adapter_xl", "light_adapter")


def _signature(config: ComponentConfig, _neighbours: Neighbours) -> Signature:
    taken = tensor(PICTURE, "batch", config.integer("in_channels", 3), "height", "width")
    outputs = []
    for index, (channels, pixels) in enumerate(_features(config)):
        axes = (f"height / {pixels}", f"width / {pixels}")
        outputs.append(tensor(residuals.within_name(index), "batch", channels, *axes))
    return (taken,), tuple(outputs)


def downscale(config: ComponentConfig) -> int:
    """Return the pixels that one of the largest features covers; sizes are multiples of it."""
    return config.integer("downscale_factor", 8)


def _features(config: ComponentConfig) -> Iterator[tuple[int, int]]:
    """Yield channels of each feature, and how many pixels wide it is."""
    widths, pixels = config.items("channels"), downscale(config)
    match config.text("adapter_type", "full_adapter"):
        case "full_adapter_xl":
            yield from (
                (it, pixels if index < 2 else 2 * pixels) for index, it in enumerate(widths)
            )
        case "light_adapter":
            yield from ((it, pixels << index) for index, it in enumerate((*widths, widths[-1])))
        case _:
            yield from ((it, pixels << index) for index, it in enumerate(widths))


def _check(config: ComponentConfig) -> None:
    pixels = downscale(config)
    if pixels & (pixels - 1):
        raise SourceError(
            f"{config.path}: 'downscale_factor' is {pixels}, which is no power of two.",
            hint="Take the config.json that belongs to these weights.",
        )


def _forward(network: Any, inputs: Tensors) -> Tensors:
    features = network(inputs[PICTURE])
    return {residuals.within_name(index): it for index, it in enumerate(features)}


def _probe(probing: Probing, spec: TensorSpec, shape: tuple[int, ...]) -> Any:
    return probes.levels(probing, spec, shape)


T2I_ADAPTER = Steering(
    class_name="T2IAdapter",
    library="diffusers",
    options={"adapter_type": _KINDS},
    parts=(
        Part(
            role="t2i_adapter",
            signature=_signature,
            forward=_forward,
            probe=_probe,
            sensitive_layers=("adapter.conv_in",),
        ),
    ),
    check=_check,
)
