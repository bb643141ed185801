"""What an app that carries a package has to know: systems, size, licences, and the next step."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.package import PackageManifest
from edgegen.core.profile import Attention
from edgegen.core.run_command import needed_options, run_command
from edgegen.models.licences import licence_files
from edgegen.packaging.kits import kit_of, kit_page, kit_problem
from edgegen.packaging.plan import BuildPlan

_MACOS_IS_BEHIND = 3  # iOS 17 and macOS 14 came together


@dataclass(frozen=True, slots=True, kw_only=True)
class AppFacts:
    """Facts of one package for the app that carries it.

    `oldest_systems` is None where the target ties a package to no version of a system, `attention`
    where it has one form only. `app_bytes` is what the app carries to draw from a prompt: all but
    the golden case, other chips' contexts and, where a picture isn't needed, the image encoder
    (`left_out`).
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
    chips: list[str | None] = [it.chip for it in manifest.compiled]
    ios = manifest.operator_sets.get("iOS")
    return AppFacts(
        oldest_systems=None if ios is None else f"iOS {ios}, macOS {ios - _MACOS_IS_BEHIND}",
        attention=plan.candidate.runtime.attention if ios is not None else None,
        app_bytes=max(
            sum(
                file.size_bytes
                for file in manifest.files_for(chip)
                if file.path.partition("/")[0] not in left_out
            )
            for chip in chips or [None]
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
    draw = run_command(str(package), needed_options(manifest.facts, manifest.generation))
    device = "DEVICE"
    if manifest.compiled:
        device += f", which has {' or '.join(it.chip for it in manifest.compiled)}"
    steps = [draw, f"edgegen bench {shlex.quote(str(package))} --device {device}"]
    kit = kit_of(manifest)
    if kit is not None:
        problem = kit_problem(kit, manifest, package)
        said = kit_page(kit, manifest) if problem is None else f"not with the kit, as {problem}"
        steps.append(f"for an app: {said}")
    return tuple(steps)
