"""Compares two packages of a model: their size, and what was measured and found of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgegen.compare.evaluations import compare_evaluations
from edgegen.compare.measurements import OTHER_WEIGHTS, compare_measurements
from edgegen.compare.values import (
    SCHEMA_VERSION,
    Comparison,
    FigureChange,
    Side,
    size_change,
    unknown,
)
from edgegen.core.errors import ConfigError
from edgegen.core.evaluation import Evaluation
from edgegen.core.figures import FIGURES
from edgegen.core.files import sha256_of
from edgegen.core.manifest import load_manifest
from edgegen.core.measurement import Measurement
from edgegen.core.package import MANIFEST_NAME, PackageManifest

_NO_DEVICE = "no device was measured (--device)"
_NO_PICTURES = "no pictures were drawn (--no-quality)"


def check_same_model(
    old: Path, new: Path, *, quality: bool = False, weights: tuple[str, str] | None = None
) -> None:
    """Raise ConfigError where two packages are of different models.

    For their quality the weights have to be the same: each is compared with the model's pictures.
    `weights` are the hashes of those that they draw with, by default of those that they were built
    from.
    """
    before, after = load_manifest(old).source, load_manifest(new).source
    drawn = weights or (before.weights_sha256, after.weights_sha256)
    if drawn[0] == drawn[1]:
        return
    if before.model != after.model:
        raise ConfigError(
            f"{old} and {new} cannot be compared: one is of {before.model}, the other of "
            f"{after.model}.",
            hint="Compare packages of one model; `edgegen choose` chooses between models.",
        )
    if quality:
        raise ConfigError(
            f"The quality of {old} and {new} cannot be compared: both are of {before.model}, "
            f"with other weights ({drawn[0][:12]} and {drawn[1][:12]}).",
            hint="Package both from the same weights, or leave pictures out: --no-quality.",
        )


def check_same_drawing(old: Path, new: Path, chosen: Mapping[str, float | None]) -> None:
    """Raise ConfigError where two packages would draw at other steps, guidance or sizes.

    `chosen` has what the person gave by the names of `Generation`; what is None is the package's.
    """
    before, after = (load_manifest(package).generation for package in (old, new))
    differing = [
        f"{name}: {getattr(before, name)} and {getattr(after, name)}"
        for name, value in chosen.items()
        if value is None and getattr(before, name) != getattr(after, name)
    ]
    if differing:
        raise ConfigError(
            f"{old} and {new} draw differently by default. They differ in {'; '.join(differing)}.",
            hint="Choose it for both, by --steps, --guidance, --width and --height.",
        )


def compare_packages(
    old: Path,
    new: Path,
    *,
    measured: tuple[Measurement, Measurement] | None,
    evaluated: tuple[Evaluation, Evaluation] | None,
) -> Comparison:
    """Put together what is known of two packages; what was not measured is unknown.

    `measured` ran in turns. Raises ConfigError that says what differs.
    """
    weights = None
    if evaluated is not None:
        weights = evaluated[0].weights_sha256, evaluated[1].weights_sha256
    check_same_model(old, new, quality=evaluated is not None, weights=weights)
    names = str(old), str(new)
    changes: dict[str, tuple[FigureChange, ...]] = {
        "size": (size_change(_size_bytes(old), _size_bytes(new)),),
        **{name: (unknown(name, _NO_DEVICE),) for name in ("latency", "memory", "energy")},
        **{name: (unknown(name, _NO_PICTURES),) for name in ("right", "psnr", "ssim")},
    }
    parts = []
    if measured is not None:
        parts.append(compare_measurements(*measured, names=names, in_turns=True))
    if evaluated is not None:
        parts.append(compare_evaluations(*evaluated, names=names))
    for part in parts:
        changes |= {each.figure: part.changes_of(each.figure) for each in part.changes}
    return Comparison(
        schema_version=SCHEMA_VERSION,
        old=parts[0].old if parts else _side(old),
        new=parts[0].new if parts else _side(new),
        how=" and ".join(part.how for part in parts) or "by their files",
        changes=tuple(each for name in FIGURES for each in changes.get(name, ())),
        worse_pictures=parts[-1].worse_pictures if parts else (),
        pictures=parts[-1].pictures if parts else 0,
        new_faults=parts[-1].new_faults if parts else 0,
        notes=_notes(old, new, parts),
    )


def _notes(old: Path, new: Path, parts: Sequence[Comparison]) -> tuple[str, ...]:
    if parts:
        return tuple(note for part in parts for note in part.notes)
    sides = [load_manifest(package).source.weights_sha256 for package in (old, new)]
    return (f"{OTHER_WEIGHTS} only files are compared.",) if sides[0] != sides[1] else ()


def _size_bytes(package: Path) -> int:
    """Return the bytes of a package, its manifest's included, as a measurement counts them."""
    manifest = load_manifest(package)
    files = sum(artifact.size_bytes for artifact in manifest.files)
    return files + (package / MANIFEST_NAME).stat().st_size


def _side(package: Path) -> Side:
    manifest: PackageManifest = load_manifest(package)
    return Side(
        name=str(package),
        model=manifest.source.model,
        target=manifest.target,
        recipe=manifest.recipe.name,
        manifest_sha256=sha256_of(package / MANIFEST_NAME),
    )
