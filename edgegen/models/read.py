"""Describes a pipeline from its configurations and safetensors headers alone.

Neither torch nor diffusers is imported, and no tensor is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from edgegen.builtin.models import BUILTIN_MODELS
from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import ConfigError, SourceError
from edgegen.core.model import STEERING, Component, Generation, PipelineSpec, TensorSpec
from edgegen.core.reading import AS_IT_IS
from edgegen.families import candidates, choose, facts_of
from edgegen.families.base import NOT_EXPORTED, Family, Filled, PipelineConfigs
from edgegen.models.adapters.applied import facts_of_adapters
from edgegen.models.binding import is_ignored, is_left_out_layer
from edgegen.models.index import PipelineIndex
from edgegen.models.latent_sizes import size_problem
from edgegen.models.licences import licence_name
from edgegen.models.model_folder import ModelFolder
from edgegen.models.origin import read_origin
from edgegen.models.pipeline_configs import read_configs
from edgegen.models.pipeline_source import folder_source, open_source
from edgegen.models.scheduler import read_scheduler, with_defaults
from edgegen.models.weight_files import check_variant
from edgegen.models.weight_source import PipelineSource, WeightSource
from edgegen.models.weights import stored_variants
from edgegen.networks import network_of
from edgegen.networks.base import Denoiser, ImageEncoder, Neighbours, Part
from edgegen.networks.image_prompt import has_image_prompt, image_prompt_of
from edgegen.networks.residuals import is_residual


def read_pipeline(folder: ModelFolder, *, cached: bool = False) -> PipelineSpec:
    """Read what a pipeline is made of; `cached` if its denoiser keeps features between steps.

    Raises SourceError where the folder is no pipeline, or one that edgegen does not know; where a
    component, its configuration or its weights are missing; and where components do not fit one
    another. Raises ConfigError for a denoiser that cannot be `cached`.
    """
    index = PipelineIndex.read(folder.path)
    possible = candidates(index.class_name, index.entries)
    _check_variant(index, folder, possible[0])
    scheduler = read_scheduler(index, possible[0])
    configs = read_configs(index, possible[0])
    family = choose(possible, configs)
    family.check(configs)
    generation = family.generation(configs)
    if cached and configs.steering:
        raise ConfigError(
            "Features are not kept between the steps of a model that is steered by a picture.",
            hint="Leave --cache-interval out, or --controlnet.",
        )
    _check_native_size(configs, generation)
    layout = folder.layout
    components = _components(index, folder.variant, configs, generation, cached=cached)
    _check_steering(components, configs)
    spec = PipelineSpec(
        source=folder.source,
        revision=folder.revision,
        variant=folder.variant,
        family=family.name,
        facts=replace(
            facts_of(family.name, generation),
            controls=len(configs.steering),
            takes_picture_prompt=any(it.role == "image_encoder" for it in components),
        ),
        pipeline_class=index.class_name,
        components=components,
        generation=generation,
        scheduler=scheduler,
        licence=licence_name(folder.path),
        reading=None if folder.reading == AS_IT_IS else folder.reading,
        form=None if layout is None else layout.form,
        extras=tuple(
            name
            for name in sorted(index.entries)
            if name in NOT_EXPORTED and name not in configs.slots
        ),
        adapters=facts_of_adapters(folder.path),
    )
    origin = read_origin(folder.path)
    if origin is not None:
        drawn = replace(generation, steps=origin.steps, guidance=origin.guidance)
        return replace(spec, generation=drawn, original=origin.model)
    builtin = BUILTIN_MODELS.get(folder.source)
    if builtin is None:
        return with_defaults(spec, folder.path)
    drawn = replace(generation, steps=builtin.steps, guidance=builtin.guidance)
    return replace(spec, generation=drawn)


def component_keys(component: Component, weights: WeightSource) -> tuple[str, ...]:
    """Return the keys of `weights` that belong to a component.

    An autoencoder's file holds those of two; keys that are known to be no parameters are left out.
    """
    rules = network_of(component.class_name).keys
    states = [it for it in component.outputs if it.name.startswith("hidden_states.")]
    return tuple(
        key
        for key in weights.entries
        if key.startswith(component.prefixes)
        and not is_ignored(key, rules)
        and not is_left_out_layer(key, len(states) - 1, rules)
    )


def _check_variant(index: PipelineIndex, folder: ModelFolder, family: Family) -> None:
    folders = (index.folder / slot.name for slot in family.slots)
    stored = [stored_variants(place) for place in folders if place.is_dir()]
    check_variant(folder.variant, stored, model=folder.source)


def _components(
    index: PipelineIndex,
    variant: str | None,
    configs: PipelineConfigs,
    generation: Generation,
    *,
    cached: bool,
) -> tuple[Component, ...]:
    pooled = [text.pooled_width(config) for text, config in configs.texts]
    neighbours = Neighbours(
        scale=generation.vae_scale_factor,
        pooled_width=pooled[-1] if pooled else None,
        patches=_patches(configs),
    )
    for filled in configs.steering[:1]:
        _, steering = filled.network.parts[0].signature(filled.config, neighbours)
        neighbours = replace(neighbours, steering=steering)
    source = open_source(folder_source(index.folder))
    return tuple(
        component
        for filled in configs.slots.values()
        for component in _made_of(filled, source, variant, neighbours, cached=cached)
    )


def _patches(configs: PipelineConfigs) -> int | None:
    """Return how many states of a picture an IP-Adapter reads; None where it reads none."""
    _, config = configs.denoiser
    prompt = image_prompt_of(config.data, str(config.path))
    if prompt is None or not prompt.reads_patches:
        return None
    for it in configs.slots.values():
        if isinstance(it.network, ImageEncoder):
            return it.network.patches(it.config)
    raise SourceError(
        f"{configs.settings.path} has no image encoder for the UNet's IP-Adapter.",
        hint="Give the adapter with --ip-adapter.",
    )


def _made_of(
    filled: Filled,
    source: PipelineSource,
    variant: str | None,
    neighbours: Neighbours,
    *,
    cached: bool,
) -> Iterator[Component]:
    """Yield the components that a network makes, as far as the family exports them."""
    slot, network = filled.slot, filled.network
    weights = source.weights(slot.name, variant)
    parts = [(part, part.prefixes) for part in network.parts if part.role in slot.roles]
    if cached and isinstance(network, Denoiser):
        parts = _cached_parts(network, filled.config)
    if isinstance(network, Denoiser) and has_image_prompt(filled.config):
        part = network.picture_part
        parts += [] if part is None else [(part, part.prefixes)]
    for part, prefixes in parts:
        inputs, outputs = part.signature(filled.config, neighbours)
        component = Component(
            name=slot.name + part.suffix,
            role=part.role,
            folder=slot.name,
            class_name=network.class_name,
            inputs=inputs,
            outputs=outputs,
            parameters=0,
            variant=weights.variant,
            float32_layers=part.float32_layers,
            sensitive_layers=part.sensitive_layers,
            prefixes=prefixes,
        )
        elements = sum(
            math.prod(weights.entries[key].shape) for key in component_keys(component, weights)
        )
        yield replace(component, parameters=elements)


def _check_steering(components: Sequence[Component], configs: PipelineConfigs) -> None:
    """Refuse a network that computes other features than those that its denoiser takes."""
    denoiser = next(it for it in components if it.role == "denoiser")
    for component in components:
        if component.role not in STEERING:
            continue
        given = {it.name: it for it in component.outputs}
        taken = {it.name: it for it in denoiser.inputs if is_residual(it.name)}
        names = dict.fromkeys((*given, *taken))
        wrong = next((it for it in names if not _fits(given.get(it), taken.get(it))), None)
        if wrong is not None:
            config = configs.slots[component.folder].config
            raise SourceError(
                f"{config.path}: this {component.class_name} does not fit the denoiser: as {wrong} "
                f"it computes {_told(given.get(wrong))}, and {_told(taken.get(wrong))} is taken.",
                hint="Take one that was trained for this kind of model: those of Stable Diffusion "
                "1, 2 and XL differ.",
            )


def _fits(given: TensorSpec | None, taken: TensorSpec | None) -> bool:
    """Return whether a residual can be added; one number a channel always can."""
    if given is None or taken is None or given.shape[1] != taken.shape[1]:
        return False
    return given.shape[2:] in ((1, 1), taken.shape[2:])


def _told(residual: TensorSpec | None) -> str:
    if residual is None:
        return "nothing"
    return f"({', '.join(map(str, residual.shape[1:]))})"


def _cached_parts(network: Denoiser, config: ComponentConfig) -> list[tuple[Part, tuple[str, ...]]]:
    """Return a denoiser that gives its features and the one that takes them, with their layers."""
    caching = network.caching
    if caching is None:
        raise ConfigError(
            f"A {network.class_name} keeps no features between steps: of UNets it is known which "
            "layers may wait.",
            hint="Leave --cache-interval out for this model.",
        )
    caching.check(config)
    (plain,) = network.parts
    whole = replace(plain, signature=caching.signature)
    return [(whole, whole.prefixes), (caching.part, caching.prefixes(config))]


def _check_native_size(configs: PipelineConfigs, generation: Generation) -> None:
    problem = size_problem(generation)
    if problem is not None:
        _, config = configs.denoiser
        raise SourceError(
            f"{config.path}: 'sample_size' is {config.data.get('sample_size')}. {problem}",
            hint="Correct it: diffusers cannot draw at that size either.",
        )
