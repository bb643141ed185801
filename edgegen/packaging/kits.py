"""The kits for apps, and which packages each draws with, as its own sources check it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgegen.core.codec import load_python_json_object
from edgegen.core.model import TensorSpec
from edgegen.core.package import PackageManifest
from edgegen.core.shipped import shipped
from edgegen.core.target import OtherRunner
from edgegen.core.targets import load_target
from edgegen.models.scheduler import CONFIG_PATH
from edgegen.packaging.kit_schedulers import APPLE, GENAI, KOTLIN, KitScheduler

_DENOISER = frozenset({"sample", "timestep", "encoder_hidden_states"})
_XL_DENOISER = _DENOISER | {"text_embeds", "time_ids"}
_LCM_DENOISER = _DENOISER | {"timestep_cond"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """Sources to start an app from, in a `folder` of the target's, and what they draw with.

    `denoisers` are the inputs that a denoiser may have, `samples` how many it takes a call where it
    is fixed, `text_encoders` how many of them there may be at most. `guides_a_part` is whether it
    can leave guidance out of some steps. What the program below it knows, the target says of its
    other runner.
    """

    folder: str
    denoisers: tuple[frozenset[str], ...]
    schedulers: Mapping[str, KitScheduler]
    samples: int | None = None
    text_encoders: int | None = None
    guides_a_part: bool = False


_KOTLIN = Kit(
    folder="kit",
    denoisers=(_DENOISER,),
    schedulers=KOTLIN,
    samples=1,
    text_encoders=1,
    guides_a_part=True,
)
KITS: Mapping[str, Kit] = {
    "coreml": Kit(folder="kit", denoisers=(_DENOISER, _XL_DENOISER), schedulers=APPLE, samples=2),
    "openvino": Kit(
        folder="kit",
        denoisers=(_DENOISER, _XL_DENOISER, _LCM_DENOISER),
        schedulers=GENAI,
    ),
    "tflite": _KOTLIN,
}
"""The kits by target; without an NPU there is none for ONNX."""

NPU_KITS: Mapping[str, Kit] = {"onnx": replace(_KOTLIN, folder="kit-npu")}
"""Those for packages that were compiled for an NPU: files beside the Kotlin kit, which draws."""


def kit_of(manifest: PackageManifest) -> Kit | None:
    """Return the kit for packages of a manifest's kind; None where there is none."""
    return (NPU_KITS if manifest.compiled else KITS).get(manifest.target)


def kit_page(kit: Kit, manifest: PackageManifest) -> Path:
    """Return the page of a kit, where it is installed or checked out."""
    return shipped("targets") / manifest.target / kit.folder / "README.md"


def kit_problem(kit: Kit, manifest: PackageManifest, package: Path) -> str | None:
    """Return why a kit refuses a package, or draws something else with it; None where it draws."""
    config = load_python_json_object(package / CONFIG_PATH)
    return next(_problems(kit, manifest, config), None)


def _problems(kit: Kit, manifest: PackageManifest, config: Mapping[str, Any]) -> Iterator[str]:
    if any(it.spec.role == "shallow_denoiser" for it in manifest.components):
        yield "it draws with a denoiser of one graph: build without --cache-interval"
    if not _draws_family(kit, manifest):
        yield f"it has no pipeline for the family '{manifest.family}'"
    other = _other_runner(manifest)
    for component in manifest.components:
        name = component.spec.class_name
        if component.spec.role == "decoder" and name not in (other.autoencoders or (name,)):
            yield f"it has no {name}, which is this model's autoencoder"
    if manifest.generation.decode_tile is not None:
        yield "it decodes a picture at once: build without --decode-tile"
    if manifest.generation.latents_mean is not None:
        yield "it draws other colours, as this model normalizes latents by channel"
    part = manifest.generation.guidance_start, manifest.generation.guidance_stop
    if part != (0.0, 1.0) and not kit.guides_a_part:
        yield "it guides every step: build without --guidance-start and --guidance-stop"
    samples = _denoiser_inputs(manifest)[0].shape[0]
    if kit.samples is not None and isinstance(samples, int) and samples != kit.samples:
        yield (
            f"its denoiser takes {kit.samples} samples a call, not {samples}: build with a profile "
            f"whose runtime has denoiser_batch = {kit.samples}"
        )
    yield from _scheduler_problems(kit, manifest, config)


def _other_runner(manifest: PackageManifest) -> OtherRunner:
    other = load_target(manifest.target).other_runner
    return other or OtherRunner(name="", knows_added_tokens=True)


def _draws_family(kit: Kit, manifest: PackageManifest) -> bool:
    facts = manifest.facts
    if not facts.takes_text or "noise" not in facts.starts:
        return False
    if facts.controls or facts.takes_picture_prompt:
        return False
    inputs = {it.name for it in _denoiser_inputs(manifest)}
    pipelines = _other_runner(manifest).pipelines
    encoders = sum(it.spec.role == "text_encoder" for it in manifest.components)
    return (
        inputs in kit.denoisers
        and (pipelines is None or manifest.pipeline_class in pipelines)
        and (kit.text_encoders is None or encoders <= kit.text_encoders)
    )


def _denoiser_inputs(manifest: PackageManifest) -> tuple[TensorSpec, ...]:
    return next(it.spec.inputs for it in manifest.components if it.spec.role == "denoiser")


def _scheduler_problems(
    kit: Kit, manifest: PackageManifest, config: Mapping[str, Any]
) -> Iterator[str]:
    name = str(config.get("_class_name"))
    scheduler = kit.schedulers.get(name)
    if scheduler is None:
        known = ", ".join(sorted(kit.schedulers))
        yield f"it has no {name}, but {known} (package --scheduler)"
        return
    is_xl = {it.name for it in _denoiser_inputs(manifest)} == _XL_DENOISER
    options = {**scheduler.options, **(scheduler.xl_options if is_xl else {})}
    for option, allowed in options.items():
        if config.get(option) not in allowed:
            said = "left out" if config.get(option) is None else f"= {config[option]}"
            yield f"its {name} draws another picture with {option} {said}"
    if manifest.generation.steps < scheduler.least_steps:
        yield f"its {name} draws another picture in fewer than {scheduler.least_steps} steps"
