"""A package as the runner sees it: the parts of ``edgegen.json`` that it needs, as plain JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path, PurePosixPath
from typing import Any, Optional, Union

from .errors import RunnerFailure

MANIFEST_NAME = "edgegen.json"
SCHEMA_VERSION = 1
MODEL_PACKAGE = ".mlpackage"
"""What Core ML opens is a folder."""

_LARGEST_JSON_BYTES = 64 << 20
_PIECE_BYTES = 8 << 20


@dataclass(frozen=True)
class Tensor:
    """An input or output of a component; an axis is a number where it is fixed, else a name."""

    name: str
    dtype: str
    shape: tuple[Union[int, str], ...]


@dataclass(frozen=True)
class Component:
    """A network of the pipeline and the file that the runtime opens.

    ``parts`` are the files of a graph that is cut, after the first, in order. ``storages`` are the
    types in which the recipe, called ``recipe``, stores weights.
    """

    name: str
    path: Path
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    parts: tuple[Path, ...] = ()
    recipe: str = ""
    storages: frozenset[str] = frozenset()

    @property
    def first_output(self) -> str:
        """Return the name of the first output: a denoiser's and an autoencoder's only one."""
        return next(iter(self.outputs))


@dataclass(frozen=True)
class Generation:
    """What the denoising loop has to know; see ``edgegen.core.model.Generation``."""

    width: int
    height: int
    latent_channels: int
    vae_scale_factor: int = 8
    scaling_factor: float = 1.0
    shift_factor: float = 0.0
    steps: int = 25
    guidance: float = 7.5
    text_length: Optional[int] = None
    guidance_embedding_dim: Optional[int] = None
    force_zeros_for_empty_prompt: bool = False
    requires_aesthetics_score: bool = False


@dataclass(frozen=True)
class Golden:
    """The case with which the device checks itself."""

    folder: Path
    prompt: Optional[str]
    negative_prompt: Optional[str]
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    scheduler: str
    strength: Optional[float] = None


@dataclass(frozen=True)
class Tolerance:
    """The lowest PSNR, in decibels, that each layer of a golden case accepts."""

    component_psnr_db: float
    trajectory_psnr_db: float
    image_psnr_db: float


@dataclass(frozen=True)
class Package:
    """A package on disk."""

    folder: Path
    family: str
    pipeline_class: str
    generation: Generation
    components: Mapping[str, Component]
    tolerance: Tolerance
    golden: Optional[Golden]
    model: str
    target: str = "onnx"

    def component(self, name: str) -> Component:
        """Return a component.

        Raises RunnerFailure (bad-package) where the package does not have it.
        """
        try:
            return self.components[name]
        except KeyError:
            raise RunnerFailure(
                "bad-package",
                f"{self.folder} has no component {name!r}.",
                f"It has {', '.join(self.components)}.",
            ) from None

    def scheduler_config(self) -> dict[str, Any]:
        """Read ``scheduler/scheduler_config.json``.

        Raises RunnerFailure (bad-package) where it is missing or broken.
        """
        return read_json_object(self.folder / "scheduler" / "scheduler_config.json")


def load_package(folder: Path, *, verify: bool = False) -> Package:
    """Read a package's manifest; with ``verify``, compare the sha256 of every file with it.

    Raises RunnerFailure (bad-package) where the manifest is missing or broken, or names a file
    that is missing, outside of the folder or, with ``verify``, another.
    """
    manifest = read_json_object(folder / MANIFEST_NAME)
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        raise RunnerFailure(
            "bad-package",
            f"{folder / MANIFEST_NAME} has schema version {version!r}; this runner reads "
            f"{SCHEMA_VERSION}.",
            "Use the runner of the edgegen that built the package.",
        )
    try:
        package = _read_manifest(folder, manifest)
        files = [(str(file["path"]), str(file["sha256"])) for file in manifest["files"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunnerFailure(
            "bad-package",
            f"{folder / MANIFEST_NAME} is broken: {type(error).__name__}: {error}.",
            "Build the package again, or copy it again.",
        ) from error
    for component in package.components.values():
        for path in (component.path, *component.parts):
            if not (path.is_dir() if path.suffix == MODEL_PACKAGE else path.is_file()):
                raise RunnerFailure("bad-package", f"{path} is missing.", "Copy the package again.")
    if verify:
        _verify(folder, files)
    return package


def inside(folder: Path, relative: str) -> Path:
    """Return ``folder / relative``.

    Raises RunnerFailure (bad-package) where the path would leave the folder: absolute, with
    ``..`` or a back-slash, or through a symbolic link.
    """
    parts = PurePosixPath(relative).parts
    plain = (
        bool(parts)
        and not relative.startswith("/")
        and not any(character in relative for character in "\\\0")
        and ":" not in parts[0]
        and ".." not in parts
    )
    root = folder.resolve()
    path = folder.joinpath(*parts) if plain else folder
    if not plain or root not in (path.resolve(), *path.resolve().parents):
        raise RunnerFailure(
            "bad-package",
            f"The path {relative!r} leaves the package {folder}.",
            "Do not use this package: it was made or changed by something else.",
        )
    return path


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Raises RunnerFailure (bad-package) where it is missing, too large or something else.
    """
    try:
        if path.stat().st_size > _LARGEST_JSON_BYTES:
            raise ValueError(f"it is larger than {_LARGEST_JSON_BYTES >> 20} MiB")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = "Give the folder that `edgegen package` made."
        raise RunnerFailure("bad-package", f"{path} does not exist.", hint) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunnerFailure(
            "bad-package", f"{path} cannot be read: {error}.", "Copy the package again."
        ) from error
    if not isinstance(value, dict):
        raise RunnerFailure("bad-package", f"{path} holds no object.", "Copy the package again.")
    return value


def _read_manifest(folder: Path, manifest: Mapping[str, Any]) -> Package:
    known = Generation.__dataclass_fields__
    generation = {key: value for key, value in manifest["generation"].items() if key in known}
    recipe = manifest["recipe"]
    rules = [rule.get("storage") for rule in recipe.get("rules") or ()]
    storages = frozenset(str(each) for each in (recipe.get("storage"), *rules) if each is not None)
    files = frozenset(str(file["path"]) for file in manifest["files"])
    components = {}
    for packaged in manifest["components"]:
        spec, path = packaged["spec"], str(packaged["path"])
        components[str(spec["name"])] = Component(
            str(spec["name"]),
            inside(folder, path),
            _read_tensors(spec["inputs"]),
            _read_tensors(spec["outputs"]),
            tuple(inside(folder, part) for part in _part_names(path, files)),
            str(recipe.get("name", "")),
            storages,
        )
    tolerance = recipe["tolerance"]
    golden = manifest.get("golden")
    return Package(
        folder=folder,
        family=str(manifest["family"]),
        pipeline_class=str(manifest["pipeline_class"]),
        generation=Generation(**generation),
        components=components,
        tolerance=Tolerance(
            float(tolerance["component_psnr_db"]),
            float(tolerance["trajectory_psnr_db"]),
            float(tolerance["image_psnr_db"]),
        ),
        golden=None if golden is None else _read_golden(folder, golden),
        model=str(manifest["source"]["model"]),
        target=str(manifest["target"]),
    )


def _part_names(path: str, files: frozenset[str]) -> list[str]:
    """Return the files of a cut graph after its first: ``model.2.tflite``, ``model.3.tflite``, …

    Apple calls the parts of a Core ML program ``UnetChunk1.mlpackage``, ``UnetChunk2.mlpackage``.
    Only names that the package lists count, and only as far as none is left out.
    """
    stem, dot, suffix = path.rpartition(".")
    if path.endswith(f"Chunk1{MODEL_PACKAGE}"):
        folders = {name.partition(f"{MODEL_PACKAGE}/")[0] + MODEL_PACKAGE for name in files}
        chunks = (f"{stem[:-1]}{number}{dot}{suffix}" for number in count(2))
        return list(takewhile(folders.__contains__, chunks))
    names = (f"{stem}.{number}{dot}{suffix}" for number in count(2))
    return list(takewhile(files.__contains__, names))


def _read_tensors(specs: list[Mapping[str, Any]]) -> dict[str, Tensor]:
    tensors = (Tensor(str(s["name"]), str(s["dtype"]), tuple(s["shape"])) for s in specs)
    return {tensor.name: tensor for tensor in tensors}


def _read_golden(folder: Path, golden: Mapping[str, Any]) -> Golden:
    return Golden(
        folder=inside(folder, str(golden["folder"])),
        prompt=golden.get("prompt"),
        negative_prompt=golden.get("negative_prompt"),
        width=int(golden["width"]),
        height=int(golden["height"]),
        steps=int(golden["steps"]),
        guidance=float(golden["guidance"]),
        seed=int(golden["seed"]),
        scheduler=str(golden["scheduler"]),
        strength=golden.get("strength"),
    )


def _verify(folder: Path, files: list[tuple[str, str]]) -> None:
    for relative, expected in files:
        path = inside(folder, relative)
        digest = hashlib.sha256()
        try:
            with path.open("rb", buffering=0) as file:
                while True:
                    piece = file.read(_PIECE_BYTES)
                    if not piece:
                        break
                    digest.update(piece)
        except OSError as error:
            raise RunnerFailure(
                "bad-package", f"{path} cannot be read: {error}.", "Copy the package again."
            ) from error
        if digest.hexdigest() != expected:
            raise RunnerFailure(
                "bad-package",
                f"{path} is not the file that the manifest names: its sha256 differs.",
                "Copy the package again.",
            )
