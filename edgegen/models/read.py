"""Describes a pipeline from its configurations and safetensors headers alone.

Neither torch nor diffusers is imported, and no tensor is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from edgegen.builtin.models import BUILTIN_MODELS
from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.model import Component, Family, Generation, PipelineSpec
from edgegen.models.binding import is_ignored, is_left_out_layer
from edgegen.models.families import COMPONENT_CLASSES, NOT_EXPORTED, facts_of
from edgegen.models.index import PipelineIndex
from edgegen.models.latent_sizes import latent_multiple_of_text, size_problem
from edgegen.models.licences import licence_name
from edgegen.models.model_folder import ModelFolder
from edgegen.models.scheduler import read_scheduler, with_defaults
from edgegen.models.text_encoders import check_text_classes, check_text_width, text_length
from edgegen.models.weight_files import check_variant
from edgegen.models.weights import Weights, stored_variants
from edgegen.networks import (
    autoencoder_of,
    denoiser_of,
    network_of,
    part_of,
    text_encoder_of,
)
from edgegen.networks.base import Neighbours, Network
from edgegen.networks.options import check_options

_INPAINT: Mapping[str, Family] = {
    "stable-diffusion": "stable-diffusion-inpaint",
    "stable-diffusion-xl": "stable-diffusion-xl-inpaint",
}
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
    rules = network_of(component.class_name).keys
    prefixes = part_of(component).prefixes
    states = [it for it in component.outputs if it.name.startswith("hidden_states.")]
    return tuple(
        key
        for key in weights.entries
        if key.startswith(prefixes)
        and not is_ignored(key, rules)
        and not is_left_out_layer(key, len(states) - 1, rules)
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
    network = denoiser_of(class_name)
    check_options(config, network)
    _check_predicted_channels(index, config)
    width, height = network.native_size(config, 1)
    generation = Generation(
        width=width,
        height=height,
        latent_channels=config.integer("in_channels", 3),
        vae_scale_factor=1,
        latent_multiple=network.multiple(config),
    )
    _check_native_size(config, generation)
    components = _components(index, variant, "unet", network, config, Neighbours())
    return "unconditional", tuple(components), generation


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
        check_options(config, network_of(classes[name]))
    check_text_width(unet, texts.values())
    family = _family(known.family, vae, unet, is_refiner=is_refiner)
    autoencoder, denoiser = autoencoder_of(classes["vae"]), denoiser_of(classes["unet"])
    scale = autoencoder.scale(vae)
    pooled = [text_encoder_of(classes[name]).pooled_width(it) for name, it in texts.items()]
    neighbours = Neighbours(scale=scale, pooled_width=pooled[-1] if pooled else None)
    components = [
        component
        for name, config in (*texts.items(), ("unet", unet), ("vae", vae))
        for component in _components(
            index, variant, name, network_of(classes[name]), config, neighbours
        )
    ]
    width, height = denoiser.native_size(unet, scale)
    mean, std = _latent_statistics(vae, family)
    generation = Generation(
        width=width * scale,
        height=height * scale,
        latent_channels=vae.integer("latent_channels", 4),
        vae_scale_factor=scale,
        latent_multiple=latent_multiple_of_text(denoiser.multiple(unet), scale),
        scaling_factor=autoencoder.scaling_factor(vae),
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


def _components(
    index: PipelineIndex,
    variant: str | None,
    slot: str,
    network: Network,
    config: ComponentConfig,
    neighbours: Neighbours,
) -> Iterator[Component]:
    weights = Weights.open(index.folder / slot, variant)
    for part in network.parts:
        inputs, outputs = part.signature(config, neighbours)
        component = Component(
            name=slot + part.suffix,
            role=part.role,
            folder=slot,
            class_name=network.class_name,
            inputs=inputs,
            outputs=outputs,
            parameters=0,
            variant=weights.variant,
        )
        elements = sum(weights.entries[key].elements for key in component_keys(component, weights))
        yield replace(component, parameters=elements)


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


def _check_native_size(unet: ComponentConfig, generation: Generation) -> None:
    problem = size_problem(generation)
    if problem is not None:
        raise SourceError(
            f"{unet.path}: 'sample_size' is {unet.data.get('sample_size')}. {problem}",
            hint="Correct it: diffusers cannot draw at that size either.",
        )
