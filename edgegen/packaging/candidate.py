"""What may be built of a model, and how large it will be: values, made without reading the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgegen_runner.runtimes import of_target

from edgegen.core.errors import ConfigError, nearest
from edgegen.core.model import Component, Generation, PipelineSpec
from edgegen.core.profile import CompilerEffort, DeviceProfile, RuntimeOptions, Shapes
from edgegen.core.recipe import Recipe
from edgegen.core.target import TargetSpec
from edgegen.exporters.base import resolve_options
from edgegen.exporters.options import TargetOptions
from edgegen.packaging.axes import fix_axes, timestep_for_each, used_outputs, whole_timestep
from edgegen.packaging.compiled import for_npu, on_npu
from edgegen.packaging.image_size import at_size
from edgegen.packaging.model_facts import ModelFacts
from edgegen.packaging.predicted import component_bytes, golden_bytes, small_bytes
from edgegen.packaging.runtime_versions import refuse_older


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A package that could be built: a model at a size, for a target, by a recipe, for a device.

    `runtime` is what the profile says of the target's runtime, or its defaults, and `options` what
    the target makes of that and the recipe: only its exporter knows them. `components` are those of
    the model, with the axes that the artifact fixes as numbers.
    """

    spec: PipelineSpec
    target: TargetSpec
    recipe: Recipe
    profile: DeviceProfile | None
    runtime: RuntimeOptions
    options: TargetOptions
    components: tuple[Component, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Npu:
    """The chips to compile for, none for the profile's; and whether the processor may do a part.

    `effort` is how hard the compiler tries.
    """

    chips: tuple[str, ...] = ()
    allow_processor: bool = False
    effort: CompilerEffort = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """About how large a package will be.

    `component_bytes` is what each component's files take, by name, for each of `chips` that it is
    compiled for, `small_bytes` what is copied and written beside them, `golden_bytes` the golden
    case.
    """

    component_bytes: Mapping[str, int]
    small_bytes: int
    golden_bytes: int
    chips: int = 1

    @property
    def package_bytes(self) -> int:
        """Return the size of the whole package, with its golden case."""
        return (
            self.chips * sum(self.component_bytes.values()) + self.small_bytes + self.golden_bytes
        )


def make_candidate(
    facts: ModelFacts,
    target: TargetSpec,
    recipe: Recipe,
    *,
    profile: DeviceProfile | None = None,
    width: int | None = None,
    height: int | None = None,
    lora_as_input: bool = False,
    npu: Npu | None = None,
    part_bytes: int | None = None,
    shapes: Shapes | None = None,
) -> Candidate:
    """Return a candidate; what is not given comes from the profile, else from the model.

    With `npu` its graphs are compiled for that, by what `on_npu` makes of the recipe. Graphs with
    more data than `part_bytes` are cut.

    Raises ConfigError for a family that the target lacks, a recipe that its format, the profile's
    oldest system cannot hold or runtime cannot execute, a size that the model cannot draw, and
    LoRAs as inputs, or parts of graphs, of a target that has none.
    """
    why = target.lacks(facts.spec.family)
    if why is not None:
        raise ConfigError(
            f"The target '{target.name}' cannot hold a {facts.spec.family} pipeline: {why}.",
            hint="Give another with --target: edgegen inspect names those that can.",
        )
    runtime = runtime_of(profile, target, npu)
    if npu is not None:
        recipe = on_npu(recipe)
    if shapes is not None:
        runtime = replace(runtime, shapes=shapes)
    if lora_as_input:
        runtime = replace(runtime, lora_as_input=True)
    if runtime.lora_as_input and target.no_lora_inputs:
        raise ConfigError(
            f"The target '{target.name}' takes no LoRA at run time: {target.no_lora_inputs}.",
            hint="Add the LoRA to the weights: --lora FILE in place of --lora-as-input.",
        )
    if part_bytes is not None:
        if target.no_parts and not runtime.chips:
            raise ConfigError(
                f"The target '{target.name}' cuts no graph into parts: {target.no_parts}.",
                hint="Leave --part-size out.",
            )
        runtime = replace(runtime, file_limit_bytes=part_bytes)
    spec = at_size(facts.spec, runtime, width, height)
    _check_tile(spec.generation)
    _check_recipe(recipe, target)
    refuse_older(recipe, target, runtime, profile)
    if runtime.shapes not in target.shapes:
        raise ConfigError(
            f"The target '{target.name}' has no {runtime.shapes} shapes.",
            hint=f"Its axes are {' or '.join(target.shapes)}: change --shapes, or the profile.",
        )
    components = _components(facts, spec, target, runtime)
    _check_guidance(spec.generation, components)
    return Candidate(
        spec=spec,
        target=target,
        recipe=recipe,
        profile=profile,
        runtime=runtime,
        options=resolve_options(target, recipe, runtime, profile),
        components=components,
    )


def predict(candidate: Candidate, facts: ModelFacts) -> Prediction:
    """Return about how large a candidate's package will be, from the headers of its weights."""
    spec = candidate.spec
    return Prediction(
        component_bytes={
            component.name: component_bytes(
                candidate.target.sizes,
                candidate.recipe,
                component,
                facts.weights[component.name],
                text_length=spec.generation.text_length,
            )
            for component in spec.components
        },
        small_bytes=small_bytes(
            facts.small_files_bytes,
            facts.tokenizer_graph_bytes if candidate.target.tokenizer_graphs else 0,
            components=len(spec.components),
        ),
        golden_bytes=golden_bytes(
            replace(spec, components=candidate.components), facts.least_latents
        ),
        chips=max(1, len(candidate.runtime.chips)),
    )


def runtime_of(
    profile: DeviceProfile | None, target: TargetSpec, npu: Npu | None = None
) -> RuntimeOptions:
    """Return a profile's options for a target; without a profile, those of its usual runtime.

    With `npu` they have graphs compiled for it. Raises ConfigError where the profile has no runtime
    for the target, and what `for_npu` raises.
    """
    runtime = _runtime_of(profile, target)
    if npu is None:
        return runtime
    return for_npu(
        runtime,
        profile,
        npu.chips,
        allow_processor=npu.allow_processor,
        effort=npu.effort,
    )


def _runtime_of(profile: DeviceProfile | None, target: TargetSpec) -> RuntimeOptions:
    if profile is None:
        return RuntimeOptions(
            target=target.name,
            package=of_target(target.name)[0].package,
            recipe=target.default_recipe,
            shapes=target.shapes[0],
        )
    runtime = profile.runtime(target.name)
    if runtime is None:
        raise ConfigError(
            f"The profile '{profile.name}' has no runtime for the target '{target.name}'.",
            hint=nearest(target.name, [options.target for options in profile.runtimes]),
        )
    return runtime


def _components(
    facts: ModelFacts,
    spec: PipelineSpec,
    target: TargetSpec,
    runtime: RuntimeOptions,
) -> tuple[Component, ...]:
    batch = runtime.denoiser_batch or target.denoiser_batch
    components = tuple(
        fix_axes(it, spec, runtime.shapes, denoiser_batch=batch) for it in spec.components
    )
    if target.text_outputs == "used":
        components = tuple(used_outputs(component, spec) for component in components)
    if target.whole_timesteps and facts.whole_timesteps:
        components = tuple(map(whole_timestep, components))
    if target.timestep_for_each:
        components = tuple(map(timestep_for_each, components))
    return components


def always_guides(components: Sequence[Component]) -> bool:
    """Return whether the denoiser takes all samples of guidance in each call, needed or not."""
    batches = [it.inputs[0].shape[0] for it in components if it.role == "denoiser"]
    return any(isinstance(batch, int) and batch > 1 for batch in batches)


def _check_guidance(generation: Generation, components: Sequence[Component]) -> None:
    """Raise ConfigError for guidance in a part of the steps where that gains nothing."""
    in_part = (generation.guidance_start, generation.guidance_stop) != (0.0, 1.0)
    if in_part and always_guides(components):
        raise ConfigError(
            "This package's denoiser computes all samples of guidance in a call, so guidance in a "
            "part of the steps gains nothing.",
            hint="Give a profile whose runtime has denoiser_batch = 1, or leave --guidance-start "
            "and --guidance-stop out.",
        )


def _check_tile(generation: Generation) -> None:
    """Raise ConfigError for tiles that are no smaller than the picture."""
    side = (generation.decode_tile or 0) * generation.vae_scale_factor
    if side >= max(generation.width, generation.height):
        raise ConfigError(
            f"--decode-tile is {side}, and the picture has {generation.width} × "
            f"{generation.height} pixels: it would be decoded at once.",
            hint="Give a smaller tile, or leave it out.",
        )


def _check_recipe(recipe: Recipe, target: TargetSpec) -> None:
    """Raise ConfigError for a recipe of the user's own that the target's format cannot hold."""
    for kind in sorted(recipe.activation_types - set(target.activations)):
        raise ConfigError(
            f"The recipe '{recipe.name}' asks for activations = \"{kind}\", which the target "
            f"'{target.name}' cannot hold.",
            hint=nearest(kind, target.activations),
        )
    if recipe.palette_channels is not None and target.palette_groups_since is None:
        raise ConfigError(
            f"The recipe '{recipe.name}' asks for palettes of groups of channels, which the target "
            f"'{target.name}' cannot hold.",
            hint="Leave palette_channels out of the recipe.",
        )
