"""The networks that edgegen knows: one file a class of diffusers or transformers.

A new network is a file and a line in the table; `base` says what the file declares, and
tests/contracts/test_networks_contract.py and test_rooms.py what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgegen.core.errors import SourceError, nearest
from edgegen.core.model import Component
from edgegen.networks import (
    autoencoder_asymmetric,
    autoencoder_kl,
    autoencoder_tiny,
    clip_text,
    clip_vision,
    control_net,
    pixart_transformer,
    t2i_adapter,
    t5_encoder,
    unet_2d,
    unet_2d_condition,
)
from edgegen.networks.base import Denoiser, Network, Part

NETWORKS: Mapping[str, Network] = {
    "AsymmetricAutoencoderKL": autoencoder_asymmetric.AUTOENCODER_ASYMMETRIC,
    "AutoencoderKL": autoencoder_kl.AUTOENCODER_KL,
    "AutoencoderTiny": autoencoder_tiny.AUTOENCODER_TINY,
    "CLIPTextModel": clip_text.CLIP_TEXT_MODEL,
    "CLIPTextModelWithProjection": clip_text.CLIP_TEXT_MODEL_WITH_PROJECTION,
    "CLIPVisionModelWithProjection": clip_vision.CLIP_VISION_MODEL,
    "ControlNetModel": control_net.CONTROL_NET,
    "PixArtTransformer2DModel": pixart_transformer.PIXART_TRANSFORMER,
    "T2IAdapter": t2i_adapter.T2I_ADAPTER,
    "T5EncoderModel": t5_encoder.T5_ENCODER,
    "UNet2DConditionModel": unet_2d_condition.UNET_2D_CONDITION,
    "UNet2DModel": unet_2d.UNET_2D,
}

TINY_AUTOENCODER = autoencoder_tiny.AUTOENCODER_TINY.class_name
"""The class whose models take the place of a larger autoencoder."""

OLD_NAMES: Mapping[str, str] = {
    old: network.class_name for network in NETWORKS.values() for old in network.old_names
}


def class_name_of(name: str) -> str:
    """Return what a class is called today; a name that isn't known stays as it is."""
    return OLD_NAMES.get(name, name)


def network_of(class_name: str) -> Network:
    """Return what is known of a class. Raises SourceError for an unknown one."""
    class_name = class_name_of(class_name)
    if class_name not in NETWORKS:
        raise SourceError(
            f"edgegen does not know the network class '{class_name}'.",
            hint=nearest(class_name, NETWORKS),
        )
    return NETWORKS[class_name]


def part_of(component: Component) -> Part:
    """Return what is known of a component. Raises SourceError for an unknown class or role."""
    network = network_of(component.class_name)
    parts = network.parts
    if isinstance(network, Denoiser):
        caching = None if network.caching is None else network.caching.part
        parts = (*parts, *(it for it in (caching, network.picture_part) if it is not None))
    for part in parts:
        if part.role == component.role:
            return part
    raise SourceError(
        f"A {component.class_name} makes no {component.role}.",
        hint="Package the model again, with this version of edgegen.",
    )


def denoiser_of(class_name: str) -> Denoiser:
    """Return what is known of a denoiser's class. Raises SourceError for another one."""
    network = network_of(class_name)
    if not isinstance(network, Denoiser):
        raise SourceError(
            f"A {class_name} predicts no noise.",
            hint="Save the pipeline again with save_pretrained.",
        )
    return network
