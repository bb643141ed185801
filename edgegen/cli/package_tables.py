"""What `edgegen package` shows: plans, packages, and what an app needs to know of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgegen.cli.console import Cell, Console
from edgegen.core.errors import EdgegenError
from edgegen.core.units import format_bytes

if TYPE_CHECKING:
    from edgegen.core.model import PipelineSpec
    from edgegen.core.package import Artifact
    from edgegen.packaging.app_facts import AppFacts
    from edgegen.packaging.batch import Batch, Built
    from edgegen.packaging.plan import BuildPlan
    from edgegen.parity.side_by_side import SideBySide


def show_app_facts(console: Console, facts: AppFacts) -> None:
    """Print what an app that carries a package has to know, and the next steps."""
    without = f", without {' and '.join(facts.left_out)}" if facts.left_out else ""
    texts = ", ".join(facts.licence_files)
    licence = facts.licence or "not stated by the model"
    rows = [
        ("runs on", facts.oldest_systems and f"{facts.oldest_systems}, and later"),
        ("attention", facts.attention),
        ("size in the app", f"{format_bytes(facts.app_bytes)}{without}"),
        ("licence", f"{licence} (ship {texts})" if texts else licence),
        *(("next", step) for step in facts.next_steps),
    ]
    console.table("For an app", ("", "this package"), [row for row in rows if row[1] is not None])


def distance(psnr_db: float | None) -> str:
    """Write how far a picture is from torch's: the PSNR of its 8-bit pixels."""
    if psnr_db is None:
        return "the reference"
    return "the same pixels" if math.isinf(psnr_db) else f"PSNR {psnr_db:.1f} dB"


def plan_row(plan: BuildPlan) -> dict[str, object]:
    """Return a plan as a row of the JSON."""
    candidate, prediction = plan.candidate, plan.prediction
    return {
        "model": candidate.spec.source,
        "family": candidate.spec.family,
        "target": candidate.target.name,
        "recipe": candidate.recipe.name,
        "profile": None if candidate.profile is None else candidate.profile.name,
        "operators": candidate.runtime.operators,
        "shapes": candidate.runtime.shapes,
        "width": candidate.spec.generation.width,
        "height": candidate.spec.generation.height,
        "variants": {component.folder: component.variant for component in candidate.components},
        "scheduler": candidate.spec.scheduler.class_name,
        "steps": candidate.spec.generation.steps,
        "guidance": candidate.spec.generation.guidance,
        "chips": candidate.runtime.chips,
        "minimum_os": candidate.options.minimum_os,
        "attention": candidate.runtime.attention,
        "destination": str(plan.destination),
        "predicted_bytes": prediction.package_bytes,
        "components": {
            component.name: {
                "parameters": component.parameters,
                "predicted_bytes": prediction.component_bytes[component.name],
            }
            for component in candidate.components
        },
        "small_files_bytes": prediction.small_bytes,
        "golden_bytes": prediction.golden_bytes,
    }


def show_plan(console: Console, plan: BuildPlan) -> None:
    """Print what a plan builds: a row a component, and the sum."""
    candidate, prediction = plan.candidate, plan.prediction
    from edgegen.cli.formats import format_drawing, format_variants

    rows: list[list[str | int | None]] = [
        [
            component.name,
            component.parameters,
            _megabytes(prediction.component_bytes[component.name]),
        ]
        for component in candidate.components
    ]
    rows += [
        ["tokenizers, scheduler, licences", None, _megabytes(prediction.small_bytes)],
        ["golden case", None, _megabytes(prediction.golden_bytes)],
        [
            "all",
            sum(it.parameters for it in candidate.components),
            _megabytes(prediction.package_bytes),
        ],
    ]
    variants = {it.folder: it.variant for it in candidate.components}
    console.table(
        f"{candidate.spec.source} → {candidate.target.title} ({candidate.recipe.name})",
        ["component", "parameters", "MB, about"],
        rows,
        notes=[
            f"{candidate.recipe.description}",
            f"{candidate.runtime.shapes} shapes, {candidate.runtime.operators} operators, "
            f"images of {candidate.spec.generation.width} × "
            f"{candidate.spec.generation.height}, to {plan.destination}",
            f"Drawn with {candidate.spec.scheduler.class_name}: {format_drawing(candidate.spec)}.",
            f"Weights: {format_variants(variants)}.",
            *_chips(candidate.runtime.chips),
            *_adapters(candidate.spec),
        ],
    )


def _chips(chips: Sequence[str]) -> tuple[str, ...]:
    each = ", the components once for each" if len(chips) > 1 else ""
    return (f"Compiled for {' and '.join(chips)}{each}.",) if chips else ()


def _adapters(spec: PipelineSpec) -> tuple[str, ...]:
    from edgegen.cli.formats import format_adapters

    return (f"Added: {format_adapters(spec.adapters)}.",) if spec.adapters else ()


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.2f}"


def package_row(built: Built) -> dict[str, object]:
    """Return a package that was built as a row of the JSON."""
    return {
        "path": str(built.path),
        "target": built.manifest.target,
        "recipe": built.manifest.recipe.name,
        "shapes": built.manifest.shapes,
        "size_bytes": _size_bytes(built),
        "parity_failed": built.manifest.parity_failed,
        "parity": built.evidence.parity,
        "costs": built.evidence.costs,
    }


def failed_row(plan: BuildPlan, error: EdgegenError) -> dict[str, object]:
    """Return a package that could not be built as a row of the JSON."""
    return {
        "path": str(plan.destination),
        "target": plan.candidate.target.name,
        "recipe": plan.candidate.recipe.name,
        "error": {
            "kind": type(error).__name__,
            "message": error.message,
            "hint": error.hint,
            "exit_code": error.exit_code,
        },
    }


def add_picture(rows: Sequence[dict[str, object]], drawn: SideBySide, path: Path) -> None:
    """Add to the rows of packages where their picture is, and how near it is to torch's."""
    for row, drawing in zip(rows, drawn.drawings[1:], strict=True):
        equal = drawing.psnr_db is not None and math.isinf(drawing.psnr_db)
        row["picture"] = str(path)
        row["picture_psnr_db"] = None if equal else drawing.psnr_db
        row["picture_is_equal"] = equal


def show_packages(console: Console, plans: Sequence[BuildPlan], batch: Batch) -> None:
    """Print what became of several packages: a row each."""
    picture = None if isinstance(batch.picture, EdgegenError) else batch.picture
    drawings = iter(() if picture is None else picture.drawings[1:])
    rows: list[list[Cell]] = []
    for plan, made in zip(plans, batch.packages, strict=True):
        if isinstance(made, EdgegenError):
            rows.append([plan.name, f"FAILED: {made.message}", None, None, None])
            continue
        drawing = next(drawings, None)
        rows.append(
            [
                plan.name,
                str(made.path),
                round(_size_bytes(made) / 1e6, 1),
                _passed(made),
                None if drawing is None else distance(drawing.psnr_db),
            ]
        )
    notes = [*_cost_of_all(batch), "What an app has to know of each package: --json."]
    if picture is not None:
        notes.insert(0, f"Their pictures, side by side: {picture_path(plans)}.")
    failed = sum(isinstance(made, EdgegenError) for made in batch.packages)
    if failed:
        notes.insert(
            0, f"{failed} of {len(plans)} packages failed; the others are in their places."
        )
    console.table(
        f"{plans[0].candidate.spec.source}: {len(plans)} packages",
        ["package", "place", "MB", "checks against torch", "picture"],
        rows,
        notes=notes,
    )


def _cost_of_all(batch: Batch) -> list[str]:
    """Return a line on what the packages took; each has its share of what they have in common."""
    costs = [
        cost
        for made in batch.packages
        if not isinstance(made, EdgegenError)
        for cost in made.evidence.costs
    ]
    peaks = [cost.peak_memory_bytes for cost in costs if cost.peak_memory_bytes is not None]
    if not peaks:
        return []
    cpu_s = sum(cost.cpu_s / cost.packages for cost in costs)
    return [
        f"They took {cpu_s:.0f} CPU seconds, pictures left out, and {format_bytes(max(peaks))}."
    ]


def picture_path(plans: Sequence[BuildPlan]) -> Path:
    """Return where the picture of several packages goes: beside them."""
    return plans[0].destination.parent / "compare.png"


def _passed(built: Built) -> str:
    checks = built.evidence.parity
    if not checks:
        return "not compared (--skip-parity)"
    passed = sum(check.passed for check in checks)
    return f"{passed} of {len(checks)} passed"


def show_package(console: Console, built: Built) -> None:
    """Print what a build cost, and how near its package is to torch."""
    from edgegen.cli.formats import format_variants
    from edgegen.cli.parity_table import show_parity

    manifest = built.manifest
    variants = {it.spec.folder: it.spec.variant for it in manifest.components}
    taken = f", from {format_variants(variants)}" if any(variants.values()) else ""
    console.table(
        f"{manifest.source.model} → {built.path}",
        ["stage", "seconds", "CPU seconds", "peak memory, MB"],
        [
            [
                cost.stage,
                round(cost.wall_s, 1),
                round(cost.cpu_s, 1),
                None if cost.peak_memory_bytes is None else round(cost.peak_memory_bytes / 1e6),
            ]
            for cost in built.evidence.costs
        ],
        notes=[
            f"{manifest.target}, {manifest.recipe.name}, {manifest.shapes} shapes, "
            f"{format_bytes(_size_bytes(built))}{taken}",
            "Peak memory is the highest sum of PSS over the processes, file pages included.",
            *_compiled_notes(built),
        ],
    )
    if not built.evidence.parity:
        console.warn(
            "Nothing was compared with torch (--skip-parity); run 'edgegen verify --full'."
        )
        return
    checks = built.evidence.parity
    passed = sum(check.passed for check in checks)
    notes = [f"{passed} of {len(checks)} checks passed; `edgegen verify --verbose` shows all."]
    show_parity(console, "The same as torch?", checks, notes=notes)


def _compiled_notes(built: Built) -> list[str]:
    chips = built.manifest.compiled
    notes = []
    for compiled in chips:
        left = ", ".join(f"{count} nodes of {it}" for it, count in compiled.on_processor.items())
        notes.append(
            f"Compiled for {compiled.chip} (Hexagon V{compiled.architecture}) by "
            f"{compiled.compiler}; on the processor: {left or 'nothing'}."
        )
    if len(chips) > 1:
        sizes = (
            f"{it.chip} {format_bytes(_bytes_of(built.manifest.files_for(it.chip)))}"
            for it in chips
        )
        notes.append(f"A device needs its own chip's part: {', '.join(sizes)}.")
    if chips and chips[0].contexts:
        cut = ", ".join(f"{it} in {count}" for it, count in chips[0].contexts.items())
        notes.append(f"Cut into contexts that run in turn: {cut}.")
    if chips and built.evidence.emulated:
        notes.append("The NPU was emulated by this machine: it was compared, and not timed.")
    return notes


def _size_bytes(built: Built) -> int:
    return _bytes_of(built.manifest.files)


def _bytes_of(files: Sequence[Artifact]) -> int:
    return sum(file.size_bytes for file in files)
