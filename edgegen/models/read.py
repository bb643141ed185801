"""Describes a pipeline from its configurations and safetensors headers alone.

Neither torch nor diffusers is imported, and no tensor is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from edgegen.builtin.models import BUILTIN_MODELS
from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.model import Component, Family, Generation, PipelineSpec, Role
from edgegen.models import signatures
from edgegen.models.binding import is_ignored, is_left_out_layer
from edgegen.models.families import (
    COMPONENT_CLASSES,
    DECODER_PREFIXES,
    ENCODER_PREFIXES,
    NOT_EXPORTED,
    facts_of,
)
from edgegen.models.index import PipelineIndex
from edgegen.models.latent_sizes import latent_multiple, latent_multiple_of_text, size_problem
from edgegen.models.licences import licence_name
from edgegen.models.model_folder import ModelFolder
from edgegen.models.network_options import check_options
from edgegen.models.scheduler import read_scheduler, with_defaults
from edgegen.models.text_encoders import check_text_classes, check_text_width, text_length
from edgegen.models.weight_files import check_variant
from edgegen.models.weights import Weights, stored_variants

_INPAINT: Mapping[str, Family] = {
    "stable-diffusion": "stable-diffusion-inpaint",
    "stable-diffusion-xl": "stable-diffusion-xl-inpaint",
}
_ROLES: Mapping[str, Role] = {
    "text_encoder": "text_encoder",
    "text_encoder_2": "text_encoder",
    "unet": "denoiser",
    "vae_decoder": "decoder",
    "vae_encoder": "encoder",
}
MAXIMUM_SIDE_PX = 8192
"""As of pictures that are read; the largest models draw 1024 or 2048."""

_TEXT_ENCODERS = ("text_encoder", "text_encoder_2")


def read_pipeline(folder: ModelFolder) -> PipelineSpec:
    """Read what a pipeline is made of.

    Raises SourceError where the folder is no pipeline, or one that edgegen does not know; where a
    component, its configuration or its weights are missing; and where components do not fit one
    another.
    """
    index = PipelineIndex.read(folder.path)
    _check_variant(index, folder)
    if index.pipeline_class.family == "unconditional":
        family, components, generation = _unconditional(index, folder.variant)
    else:
        family, components, generation = _latent_diffusion(index, folder.variant)
    spec = PipelineSpec(
        source=folder.source,
        revision=folder.revision,
        variant=folder.variant,
        family=family,
        facts=facts_of(family, generation),
        pipeline_class=index.class_name,
        components=components,
        generation=generation,
        scheduler=read_scheduler(index),
        licence=licence_name(folder.path),
        extras=tuple(name for name in sorted(index.entries) if name in NOT_EXPORTED),
    )
    builtin = BUILTIN_MODELS.get(folder.source)
    if builtin is None:
        return with_defaults(spec, folder.path)
    drawn = replace(generation, steps=builtin.steps, guidance=builtin.guidance)
    return replace(spec, generation=drawn)


def component_keys(component: Component, weights: Weights) -> tuple[str, ...]:
    """Return the keys of `weights` that belong to a component.

    An autoencoder's file holds those of two; keys that are known to be no parameters are left out.
    """
    prefixes = {"encoder": ENCODER_PREFIXES, "decoder": DECODER_PREFIXES}.get(component.role, ("",))
    is_text_encoder = component.role == "text_encoder"
    states = [it for it in component.outputs if it.name.startswith("hidden_states.")]
    projects = component.class_name == "CLIPTextModelWithProjection"
    return tuple(
        key
        for key in weights.entries
        if key.startswith(prefixes)
        and (
            not is_ignored(key, text_encoder=is_text_encoder)
            or (projects and key.startswith("text_projection."))
        )
        and not (is_text_encoder and is_left_out_layer(key, len(states) - 1))
    )


def _check_variant(index: PipelineIndex, folder: ModelFolder) -> None:
    folders = (index.folder / name for name in index.pipeline_class.components)
    stored = [stored_variants(place) for place in folders if place.is_dir()]
    check_variant(folder.variant, stored, model=folder.source)


def _unconditional(
    index: PipelineIndex, variant: str | None
) -> tuple[Family, tuple[Component, ...], Generation]:
    class_name = index.component("unet", ("UNet2DModel",))
    config = index.config("unet", class_name)
    check_options(config, class_name)
    _check_predicted_channels(index, config)
    signature = signatures.unconditional_unet(config)
    width, height = _sample_size(config)
    generation = Generation(
        width=width,
        height=height,
        latent_channels=config.integer("in_channels", 3),
        vae_scale_factor=1,
        latent_multiple=latent_multiple(config),
    )
    _check_native_size(config, generation)
    component = _component(index, variant, "unet", class_name, signature)
    return "unconditional", (component,), generation


def _check_predicted_channels(index: PipelineIndex, unet: ComponentConfig) -> None:
    """Refuse a UNet that predicts something else than a sample, or a sample and its variance."""
    taken, predicted = unet.integer("in_channels", 3), unet.integer("out_channels", 3)
    scheduler = ComponentConfig.read(index.folder / "scheduler" / "scheduler_config.json")
    learned = str(scheduler.data.get("variance_type")).startswith("learned")
    if predicted != taken and not (learned and predicted == 2 * taken):
        raise SourceError(
            f"{unet.path}: the UNet takes {taken} channels and predicts {predicted}, and the "
            "scheduler's variance is not learned.",
            hint="Take the UNet and the scheduler from the same version of the model.",
        )


def _latent_diffusion(
    index: PipelineIndex, variant: str | None
) -> tuple[Family, tuple[Component, ...], Generation]:
    known = index.pipeline_class
    is_refiner = "text_encoder_2" in known.components and "text_encoder" not in index.entries
    names = [name for name in known.components if not (is_refiner and name == "text_encoder")]
    classes = {name: index.component(name, COMPONENT_CLASSES[name]) for name in names}
    check_text_classes(index, classes)
    classes["unet"] = index.component("unet", ("UNet2DConditionModel",))
    vae = index.config("vae", classes["vae"])
    unet = index.config("unet", classes["unet"])
    texts = {
        name: ComponentConfig.of_network(index.folder / name / "config.json")
        for name in names
        if name in _TEXT_ENCODERS
    }
    for name, config in (("vae", vae), ("unet", unet), *texts.items()):
        check_options(config, classes[name])
    check_text_width(unet, texts.values())
    family = _family(known.family, vae, unet, is_refiner=is_refiner)
    scale = _scale(vae)
    make = partial(_component, index, variant)
    projections = [
        config.integer("projection_dim", 512)
        for name, config in texts.items()
        if classes[name] == "CLIPTextModelWithProjection"
    ]
    components = [
        make(name, classes[name], signatures.text_encoder(config, classes[name]))
        for name, config in texts.items()
    ]
    denoiser = signatures.conditional_unet(unet, scale, projections[-1] if projections else None)
    components.append(make("unet", classes["unet"], denoiser))
    decoder = signatures.decoder(vae, scale)
    components.append(make("vae_decoder", classes["vae"], decoder))
    encoder = signatures.encoder(vae, classes["vae"], scale)
    components.append(make("vae_encoder", classes["vae"], encoder))
    width, height = _sample_size(unet, scale)
    mean, std = _latent_statistics(vae, family)
    generation = Generation(
        width=width * scale,
        height=height * scale,
        latent_channels=vae.integer("latent_channels", 4),
        vae_scale_factor=scale,
        latent_multiple=latent_multiple_of_text(unet, scale),
        scaling_factor=_scaling_factor(vae, classes["vae"]),
        latents_mean=mean,
        latents_std=std,
        text_length=min(text_length(index, name, config) for name, config in texts.items()),
        guidance_embedding_dim=unet.optional_integer("time_cond_proj_dim"),
        force_zeros_for_empty_prompt="text_encoder_2" in texts
        and index.settings.flag("force_zeros_for_empty_prompt", default=True),
        requires_aesthetics_score=index.settings.flag("requires_aesthetics_score", default=False),
    )
    _check_native_size(unet, generation)
    return family, tuple(components), generation


def _component(
    index: PipelineIndex,
    variant: str | None,
    name: str,
    class_name: str,
    signature: signatures.Signature,
) -> Component:
    folder = "vae" if name.startswith("vae_") else name
    inputs, outputs = signature
    component = Component(
        name=name,
        role=_ROLES[name],
        folder=folder,
        class_name=class_name,
        inputs=inputs,
        outputs=outputs,
        parameters=0,
    )
    weights = Weights.open(index.folder / folder, variant)
    elements = sum(weights.entries[key].elements for key in component_keys(component, weights))
    return replace(component, parameters=elements, variant=weights.variant)


def _family(
    plain: Family, vae: ComponentConfig, unet: ComponentConfig, *, is_refiner: bool
) -> Family:
    latents = vae.integer("latent_channels", 4)
    channels = unet.integer("in_channels", 4)
    if channels == 2 * latents + 1 and plain in _INPAINT and not is_refiner:
        return _INPAINT[plain]
    if channels != latents:
        raise SourceError(
            f"{unet.path}: the UNet takes {channels} channels, the autoencoder makes {latents}.",
            hint="edgegen takes UNets of the autoencoder's channels, or, for inpainting, of "
            "twice as many and one.",
        )
    predicted = unet.integer("out_channels", 4)
    if predicted != latents:
        raise SourceError(
            f"{unet.path}: the UNet predicts {predicted} channels, the autoencoder's latents have "
            f"{latents}.",
            hint="Take the UNet and the autoencoder from the same version of the model.",
        )
    if is_refiner:
        return "stable-diffusion-xl-refiner"
    return plain


def _scale(vae: ComponentConfig) -> int:
    key = "block_out_channels"
    if key not in vae.data and "decoder_block_out_channels" in vae.data:
        key = "decoder_block_out_channels"  # AutoencoderTiny before it was saved by diffusers
    return int(2 ** (len(vae.items(key)) - 1))


def _scaling_factor(vae: ComponentConfig, class_name: str) -> float:
    return vae.number("scaling_factor", 1.0 if class_name == "AutoencoderTiny" else 0.18215)


def _latent_statistics(
    vae: ComponentConfig, family: Family
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return the mean and deviation of each channel of latents, where the pipeline uses them.

    SDXL's pipelines do where an autoencoder has both; Stable Diffusion's never look at them.
    """
    mean, std = (vae.data.get(key) for key in ("latents_mean", "latents_std"))
    if mean is None or std is None or not family.startswith("stable-diffusion-xl"):
        return None, None
    channels = vae.integer("latent_channels", 4)
    return vae.numbers("latents_mean", channels), vae.numbers("latents_std", channels)


def _sample_size(unet: ComponentConfig, scale: int = 1) -> tuple[int, int]:
    """Return the width and height of the UNet's native sample, `scale` pixels each."""
    size = unet.data.get("sample_size")
    sides = size if isinstance(size, list) else [size]
    if any(isinstance(side, int) and side * scale > MAXIMUM_SIDE_PX for side in sides):
        raise SourceError(
            f"{unet.path}: 'sample_size' is {size!r}, which makes pictures of more than "
            f"{MAXIMUM_SIDE_PX} pixels a side.",
            hint="Correct it: it is the native size in latents (64 for Stable Diffusion 1.5).",
        )
    if isinstance(size, list):
        if len(size) == 2 and all(type(side) is int and side > 0 for side in size):
            return size[1], size[0]
        raise SourceError(
            f"{unet.path}: 'sample_size' is {size!r}, not a height and a width.",
            hint="Correct it: it is the native size in latents (64 for Stable Diffusion 1.5).",
        )
    side = unet.integer("sample_size")
    if side < 64 and _is_older_than_0_9(unet):
        side = 64  # as StableDiffusionPipeline does: Stable Diffusion 1.1 to 1.4 say 32
    return side, side


def _check_native_size(unet: ComponentConfig, generation: Generation) -> None:
    problem = size_problem(generation)
    if problem is not None:
        raise SourceError(
            f"{unet.path}: 'sample_size' is {unet.data.get('sample_size')}. {problem}",
            hint="Correct it: diffusers cannot draw at that size either.",
        )


def _is_older_than_0_9(config: ComponentConfig) -> bool:
    version = re.match(r"(\d+)\.(\d+)", config.text("_diffusers_version", ""))
    return (
        version is not None
        and config.data.get("_class_name") == "UNet2DConditionModel"
        and (int(version[1]), int(version[2])) < (0, 9)
    )
