"""What an app that carries a package has to know: systems, size, licences, and the next step."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from edgegen_runner.generation import PICTURES

from edgegen.core.package import PackageManifest
from edgegen.core.profile import Attention
from edgegen.core.shipped import shipped
from edgegen.models.licences import licence_files
from edgegen.packaging.plan import BuildPlan

KIT_FOLDER, NPU_KIT_FOLDER = "kit", "kit-npu"
_MACOS_IS_BEHIND = 3  # iOS 17 and macOS 14 came together
_NO_KIT = "its kit draws with a denoiser of one graph: build without --cache-interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppFacts:
    """Facts of one package for the app that carries it.

    `oldest_systems` is None where the target ties a package to no version of a system, `attention`
    where it has one form only. `app_bytes` is what the app carries to draw from a prompt: all but
    the golden case and, where a picture isn't needed, the image encoder (`left_out`).
    """

    oldest_systems: str | None
    attention: Attention | None
    app_bytes: int
    left_out: tuple[str, ...]
    licence: str | None
    licence_files: tuple[str, ...]
    next_steps: tuple[str, ...]


def app_facts(plan: BuildPlan, manifest: PackageManifest, package: Path) -> AppFacts:
    """Return what an app needs to know of the package that was built to `package`."""
    left_out = _left_out(manifest)
    ios = manifest.operator_sets.get("iOS")
    return AppFacts(
        oldest_systems=None if ios is None else f"iOS {ios}, macOS {ios - _MACOS_IS_BEHIND}",
        attention=plan.candidate.runtime.attention if ios is not None else None,
        app_bytes=sum(
            file.size_bytes
            for file in manifest.files
            if file.path.partition("/")[0] not in left_out
        ),
        left_out=left_out,
        licence=manifest.source.licence,
        licence_files=tuple(path.name for path in licence_files(package)),
        next_steps=_next_steps(manifest, package),
    )


def _left_out(manifest: PackageManifest) -> tuple[str, ...]:
    """Return the folders that an app which draws from a prompt alone does not carry."""
    golden = () if manifest.golden is None else (manifest.golden.folder,)
    if manifest.facts.needs_picture:
        return golden
    return (*golden, *(c.spec.name for c in manifest.components if c.spec.role == "encoder"))


def _next_steps(manifest: PackageManifest, package: Path) -> tuple[str, ...]:
    place = shlex.quote(str(package))
    prompt = ' --prompt "…"' if manifest.facts.takes_text else ""
    pictures = "".join(f" --{name} {name}.png" for name in PICTURES[manifest.facts.starts[0]])
    if manifest.facts.takes_picture_prompt:
        pictures += " --ip-image picture.png"
    pictures += " --control edges.png" * manifest.facts.controls
    label = "" if manifest.generation.classes is None else " --class-label 0"
    target = shipped("targets") / manifest.target
    if manifest.compiled is not None:
        device = f"DEVICE, which has {manifest.compiled.chip}"
        return (
            f"edgegen run {place}{prompt}{label}{pictures} -o picture.png",
            f"edgegen bench {place} --device {device}",
            f"for an app: {target / NPU_KIT_FOLDER / 'README.md'}",
        )
    steps = [
        f"edgegen run {place}{prompt}{label}{pictures} -o picture.png",
        f"edgegen bench {place} --device DEVICE",
    ]
    kit = target / KIT_FOLDER
    if kit.is_dir():
        keeps_features = any(it.spec.role == "shallow_denoiser" for it in manifest.components)
        steps.append(f"for an app: {_NO_KIT if keeps_features else kit / 'README.md'}")
    return tuple(steps)
