"""What a package says of the chip whose NPU its components were compiled for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgegen_runner.contexts import CONTEXTS
from edgegen_runner.runtimes import of_target

from edgegen.core.chips import COMPILED_TARGET, Chip, chip_folder, load_chip
from edgegen.core.errors import ConfigError
from edgegen.core.package import Compiled, RuntimeNeed
from edgegen.core.profile import CompilerEffort, DeviceProfile, RuntimeOptions
from edgegen.core.recipe import Recipe, Rule
from edgegen.exporters.base import CompiledComponent, ExportResult

RECIPE = "fp16"
"""What a graph is compiled from where nobody says: the NPU computes in 16 bits all the same."""


def for_npu(
    runtime: RuntimeOptions,
    profile: DeviceProfile | None,
    chips: Sequence[str],
    *,
    allow_processor: bool = False,
    effort: CompilerEffort = 3,
) -> RuntimeOptions:
    """Return a runtime's options with which graphs are compiled for chips.

    Without any it is the profile's. Guidance is two calls, for compilers fix the batch, too. Raises
    ConfigError for another target, an unknown chip, and where nobody names one.
    """
    if runtime.target != COMPILED_TARGET:
        raise ConfigError(
            f"--npu compiles ONNX's graphs, not those of the target '{runtime.target}'.",
            hint="Write --target onnx.",
        )
    own = None if profile is None else profile.hardware.chip
    named = tuple(chips) or ((own,) if own else ())
    if not named:
        where = "there is no profile" if profile is None else f"'{profile.name}' names none"
        raise ConfigError(
            f"It is not said which chip to compile for: {where}.",
            hint="Add --chip snapdragon-8-gen-3, or a profile with a chip in [hardware].",
        )
    return replace(
        runtime,
        package=of_target(CONTEXTS)[0].package,
        recipe=RECIPE,
        version=None,
        providers=(),
        operators="plain",
        shapes="fixed",
        denoiser_batch=1,
        chips=tuple(dict.fromkeys(load_chip(it).name for it in named)),
        allow_processor=allow_processor,
        effort=effort,
    )


def on_npu(recipe: Recipe) -> Recipe:
    """Return a recipe with the autoencoder in 16-bit floats, where it computed with integers.

    Its activations are the largest by far: with integers the compiler had not finished the decoder
    of Stable Diffusion 1.5 after 321 CPU seconds and 7.5 GB; with floats it takes 41 CPU seconds.
    What the recipe itself says of the autoencoder stands.
    """
    if not recipe.activation_types & {"int8", "int16"}:
        return recipe
    decoder = Rule(role="decoder", storage="float16", activations="float")
    return replace(recipe, rules=(decoder, replace(decoder, role="encoder"), *recipe.rules))


def compiled_for(chips: Sequence[str], results: Mapping[str, ExportResult]) -> tuple[Compiled, ...]:
    """Return what the manifest says of compiled components, chip by chip."""
    known = [load_chip(it) for it in chips]
    return tuple(
        _compiled_for(
            it,
            chip_folder(known, it),
            {name: each.compiled[it.name] for name, each in results.items()},
        )
        for it in known
    )


def _compiled_for(known: Chip, folder: str, made: Mapping[str, CompiledComponent]) -> Compiled:
    first = next(iter(made.values()))
    return Compiled(
        chip=known.name,
        part=known.parts[0],
        architecture=known.architecture,
        soc_model=known.soc_model,
        vtcm_bytes=first.vtcm_bytes,
        compiler=first.compiler,
        sdk=first.sdk,
        effort=first.effort,
        on_processor={name: it.on_processor for name, it in made.items() if it.on_processor},
        contexts={name: it.contexts for name, it in made.items() if it.contexts > 1},
        folder=folder,
    )


def compiler_needs(compiled: Sequence[Compiled]) -> tuple[RuntimeNeed, ...]:
    """Return the oldest version of the runtime that loads contexts: that of the compiler."""
    if not compiled:
        return ()
    compiler = compiled[0].compiler
    version = compiler.rpartition(" ")[2]
    why = f"its contexts were compiled by {compiler}, and an older one may refuse them"
    return (RuntimeNeed(runtime=of_target(CONTEXTS)[0].name, version=version, why=why),)
