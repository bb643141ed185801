"""What a package says of the chip whose NPU its components were compiled for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgegen_runner.contexts import CONTEXTS
from edgegen_runner.runtimes import of_target

from edgegen.core.chips import COMPILED_TARGET, load_chip
from edgegen.core.errors import ConfigError
from edgegen.core.package import Compiled, RuntimeNeed
from edgegen.core.profile import DeviceProfile, RuntimeOptions
from edgegen.exporters.base import ExportResult

RECIPE = "fp16"
"""What a graph is compiled from where nobody says: the NPU computes in 16 bits all the same."""


def for_npu(
    runtime: RuntimeOptions,
    profile: DeviceProfile | None,
    chip: str | None,
    *,
    allow_processor: bool = False,
    context_bytes: int | None = None,
) -> RuntimeOptions:
    """Return a runtime's options with which graphs are compiled for a chip.

    Without one it is the profile's. Guidance is two calls, for compilers fix the batch, too. Raises
    ConfigError for another target, an unknown chip, and where nobody names one.
    """
    if runtime.target != COMPILED_TARGET:
        raise ConfigError(
            f"--npu compiles ONNX's graphs, not those of the target '{runtime.target}'.",
            hint="Write --target onnx.",
        )
    named = chip or (None if profile is None else profile.hardware.chip)
    if named is None:
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
        chip=load_chip(named).name,
        allow_processor=allow_processor,
        file_limit_bytes=context_bytes or runtime.file_limit_bytes,
    )


def compiled_for(chip: str | None, results: Mapping[str, ExportResult]) -> Compiled | None:
    """Return what the manifest says of compiled components; None where nothing was compiled."""
    made = {name: it.compiled for name, it in results.items() if it.compiled is not None}
    if chip is None or not made:
        return None
    known, first = load_chip(chip), next(iter(made.values()))
    return Compiled(
        chip=known.name,
        part=known.parts[0],
        architecture=known.architecture,
        soc_model=known.soc_model,
        vtcm_bytes=first.vtcm_bytes,
        compiler=first.compiler,
        sdk=first.sdk,
        on_processor={name: it.on_processor for name, it in made.items() if it.on_processor},
        contexts={name: it.contexts for name, it in made.items() if it.contexts > 1},
    )


def compiler_needs(compiled: Compiled | None) -> tuple[RuntimeNeed, ...]:
    """Return the oldest version of the runtime that loads contexts: that of the compiler."""
    if compiled is None:
        return ()
    version = compiled.compiler.rpartition(" ")[2]
    why = f"its contexts were compiled by {compiled.compiler}, and an older one may refuse them"
    return (RuntimeNeed(runtime=of_target(CONTEXTS)[0].name, version=version, why=why),)
