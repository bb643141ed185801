"""A package as the runner sees it: the parts of ``edgegen.json`` that it needs, as plain JSON."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path, PurePosixPath
from typing import Any, Optional, Union

from .arithmetic import ARITHMETICS, FLOAT32
from .chips import Compiled, PackagedChip, choose_chip, own_part, read_chips
from .contexts import CONTEXTS, is_of, path_for
from .errors import RunnerFailure, shortened
from .files import open_regular
from .generation import (
    GUIDANCE,
    NATIVE_LAYOUTS,
    ROLES,
    STARTS,
    FamilyFacts,
    Generation,
    NativeTensor,
)
from .request import (
    HIGHEST_SEED,
    LONGEST_SIDE,
    MOST_CLASSES,
    MOST_NOISE_LEVEL,
    MOST_STEPS,
    SMALLEST_TILE,
)
from .runtime_versions import RuntimeNeed
from .table import Table, is_path, parse_json

MANIFEST_NAME = "edgegen.json"
SCHEMA_VERSION = 2
MODEL_PACKAGE = ".mlpackage"
"""What Core ML opens is a folder."""

_LARGEST_JSON_BYTES = 16 << 20
_MOST_FILES = 100_000
_MOST_COMPONENTS = 64
_MOST_TENSORS = 1_000
_MOST_RULES = 10_000
_MOST_NEEDS = 100
_LARGEST_AXIS = 1 << 20
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
    types in which the recipe, called ``recipe``, stores weights. ``natives`` are the tensors that
    are called otherwise in the file, or laid out otherwise. ``folder`` is the network's in the
    model, which two components may share; ``lora_inputs`` are the layers that take a LoRA, with the
    shapes of their weights. ``compiled`` says which chip's NPU it was compiled for, ``compute`` the
    type in which the recipe writes arithmetic. ``in_turn`` asks for one of its parts in memory at a
    time.
    """

    name: str
    role: str
    path: Path
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    parts: tuple[Path, ...] = ()
    recipe: str = ""
    storages: frozenset[str] = frozenset()
    natives: Mapping[str, NativeTensor] = field(default_factory=dict)
    folder: str = ""
    lora_inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    compiled: Optional[Compiled] = None
    compute: str = "float32"
    in_turn: bool = False

    @property
    def first_output(self) -> str:
        """Return the name of the first output: a denoiser's prediction, a decoder's picture."""
        return next(iter(self.outputs))


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
    guidance_start: float = 0.0
    guidance_stop: float = 1.0
    cache_interval: int = 1
    image_guidance: Optional[float] = None
    noise_level: Optional[int] = None
    class_label: Optional[int] = None


@dataclass(frozen=True)
class Tolerance:
    """The lowest PSNR, in decibels, that each layer of a golden case accepts."""

    component_psnr_db: float
    trajectory_psnr_db: float
    image_psnr_db: float


@dataclass(frozen=True)
class Package:
    """A package on disk; ``runtime_since`` says which versions of runtimes execute it.

    ``target`` is what its files are for: graphs that were compiled for an NPU are ``CONTEXTS``.
    """

    folder: Path
    family: str
    facts: FamilyFacts
    pipeline_class: str
    generation: Generation
    components: Mapping[str, Component]
    tolerance: Tolerance
    golden: Optional[Golden]
    model: str
    target: str = "onnx"
    recipe: str = ""
    runtime_since: tuple[RuntimeNeed, ...] = ()

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

    def all_of(self, role: str) -> tuple[Component, ...]:
        """Return the components of a role (``denoiser``, ``decoder``, …), in order."""
        return tuple(it for it in self.components.values() if it.role == role)

    def by_role(self, role: str) -> Component:
        """Return the first component of a role.

        Raises RunnerFailure (bad-package) where the package has none.
        """
        for component in self.all_of(role):
            return component
        raise RunnerFailure(
            "bad-package", f"{self.folder} has no {role}.", f"It has {', '.join(self.components)}."
        )

    def scheduler_config(self, entry_name: str = "scheduler") -> dict[str, Any]:
        """Read an entry's ``scheduler_config.json``; as in diffusers, the index names the class.

        Raises RunnerFailure (bad-package) where it is missing or broken.
        """
        config = read_json_object(self.folder / entry_name / "scheduler_config.json")
        index = self.folder / "model_index.json"
        if index.is_file():
            entry = read_json_object(index).get(entry_name)
            if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str):
                config["_class_name"] = entry[1]
        return config


def load_package(folder: Path, *, verify: bool = False, chip: Optional[str] = None) -> Package:
    """Read a package's manifest; with ``verify``, compare the sha256 of every file with it.

    Of one that was compiled for several chips it is what `choose_chip` chooses, for ``chip`` where
    that is given; other chips' files may be missing.

    Raises RunnerFailure (bad-package) where the manifest is missing or broken, or names a file
    that is missing, outside of the folder or, with ``verify``, another, and what `choose_chip`
    raises.
    """
    manifest = read_json_object(folder / MANIFEST_NAME)
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        raise RunnerFailure(
            "bad-package",
            f"{folder / MANIFEST_NAME} has schema version {version!r}; this runner reads "
            f"{SCHEMA_VERSION}.",
            "Package the model again, or use the runner of the edgegen that built the package.",
        )
    try:
        if isinstance(manifest.get("compiled"), dict):  # of before a package had several chips
            manifest["compiled"] = [manifest["compiled"]]
        package, files = _read_manifest(folder, Table(manifest, MANIFEST_NAME, "bad-package"), chip)
    except RunnerFailure as failure:
        if failure.kind != "bad-package":
            raise
        raise RunnerFailure(
            failure.kind,
            f"{folder / MANIFEST_NAME} is broken: {failure.message}",
            failure.hint or "Build the package again, or copy it again.",
        ) from failure
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
    root = os.path.realpath(folder)
    path = folder.joinpath(*parts) if plain and is_path(relative) else folder
    if path == folder or os.path.commonpath((root, os.path.realpath(path))) != root:
        raise RunnerFailure(
            "bad-package",
            f"The path {shortened(relative)} leaves the package {folder}.",
            "Do not use this package: it was made or changed by something else.",
        )
    return path


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Raises RunnerFailure (bad-package) where it is missing, too large or something else.
    """
    try:
        with open_regular(path) as file:
            data = file.read(_LARGEST_JSON_BYTES + 1)
        if len(data) > _LARGEST_JSON_BYTES:
            raise ValueError(f"it is larger than {_LARGEST_JSON_BYTES >> 20} MiB")
        value = parse_json(data)
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


def _read_manifest(
    folder: Path, manifest: Table, wanted: Optional[str]
) -> tuple[Package, list[tuple[str, str]]]:
    """Return a package, and the path and the sha256 of each of its files that are needed."""
    files = [
        (file.text("path"), file.optional_text("sha256") or "")
        for file in manifest.tables("files", most=_MOST_FILES)
    ]
    recipe = manifest.table("recipe")
    name = recipe.optional_text("name") or ""
    named = frozenset(path for path, _ in files)
    chips = read_chips(manifest)
    chip = _choose_chip(folder, chips, named, wanted) if chips else None
    if chip is not None:
        others = {each.folder for each in chips} - {chip.folder}
        files = [file for file in files if not is_of(file[0], others)]
    components = _read_components(folder, manifest, recipe, name, named, chip)
    tolerance = recipe.table("tolerance")
    golden = manifest.optional_table("golden")
    package = Package(
        folder=folder,
        family=manifest.text("family"),
        facts=_read_facts(manifest.table("facts")),
        pipeline_class=manifest.text("pipeline_class"),
        generation=_read_generation(manifest.table("generation")),
        components=components,
        tolerance=Tolerance(
            tolerance.number("component_psnr_db"),
            tolerance.number("trajectory_psnr_db"),
            tolerance.number("image_psnr_db"),
        ),
        golden=None if golden is None else _read_golden(folder, golden),
        model=manifest.table("source").text("model"),
        target=manifest.text("target") if chip is None else CONTEXTS,
        recipe=name,
        runtime_since=tuple(
            RuntimeNeed(need.text("runtime"), need.optional_text("version"), need.text("why"))
            for need in manifest.tables("runtime_since", most=_MOST_NEEDS, default=[])
        ),
    )
    return package, files


def _choose_chip(
    folder: Path, chips: Sequence[PackagedChip], files: frozenset[str], wanted: Optional[str]
) -> PackagedChip:
    """Choose by what is asked for, by which chips' files are here, or by this machine's own."""

    def is_here(chip: PackagedChip) -> bool:
        return all(inside(folder, it).is_file() for it in files if is_of(it, {chip.folder}))

    return choose_chip(chips, is_here, wanted, own_part)


def _read_facts(table: Table) -> FamilyFacts:
    return FamilyFacts(
        guidance=table.choice("guidance", GUIDANCE),
        takes_text=table.truth("takes_text"),
        takes_negative_prompt=table.truth("takes_negative_prompt"),
        starts=table.choices("starts", STARTS),
        controls=table.whole("controls", 0, least=0, most=_MOST_COMPONENTS),
        takes_picture_prompt=table.truth("takes_picture_prompt"),
    )


def _read_generation(table: Table) -> Generation:
    width = table.whole("width", least=1, most=LONGEST_SIDE)
    height = table.whole("height", least=1, most=LONGEST_SIDE)
    channels = table.whole("latent_channels", least=1, most=_LARGEST_AXIS)
    return Generation(
        width=width,
        height=height,
        latent_channels=channels,
        vae_scale_factor=table.whole("vae_scale_factor", 8, least=1, most=LONGEST_SIDE),
        latent_multiple=table.whole("latent_multiple", 1, least=1, most=LONGEST_SIDE),
        scaling_factor=table.number("scaling_factor", 1.0, above=0),
        shift_factor=table.number("shift_factor", 0.0),
        latents_mean=table.numbers("latents_mean", count=channels),
        latents_std=table.numbers("latents_std", count=channels),
        steps=table.whole("steps", 25, least=1, most=MOST_STEPS),
        guidance=table.number("guidance", 7.5),
        inpaint_guidance=table.optional_number("inpaint_guidance"),
        guidance_start=table.number("guidance_start", 0.0, least=0, most=1),
        guidance_stop=table.number("guidance_stop", 1.0, least=0, most=1),
        cache_interval=table.whole("cache_interval", 1, least=1, most=MOST_STEPS),
        decode_tile=table.optional_whole("decode_tile", least=SMALLEST_TILE, most=LONGEST_SIDE),
        text_length=table.optional_whole("text_length", least=1, most=_LARGEST_AXIS),
        guidance_embedding_dim=table.optional_whole(
            "guidance_embedding_dim", least=1, most=_LARGEST_AXIS
        ),
        force_zeros_for_empty_prompt=table.truth("force_zeros_for_empty_prompt"),
        requires_aesthetics_score=table.truth("requires_aesthetics_score"),
        image_guidance=table.optional_number("image_guidance", least=1),
        scaled_picture=table.truth("scaled_picture"),
        noise_level=table.optional_whole("noise_level", least=0, most=MOST_NOISE_LEVEL),
        most_noise_level=table.optional_whole("most_noise_level", least=0, most=MOST_NOISE_LEVEL),
        classes=table.optional_whole("classes", least=1, most=MOST_CLASSES),
    )


def _read_components(
    folder: Path,
    manifest: Table,
    recipe: Table,
    name: str,
    files: frozenset[str],
    chip: Optional[PackagedChip],
) -> dict[str, Component]:
    rules = recipe.tables("rules", most=_MOST_RULES, default=[])
    storages = [recipe.optional_text("storage"), *(rule.optional_text("storage") for rule in rules)]
    components = {}
    for packaged in manifest.tables("components", most=_MOST_COMPONENTS):
        spec, path = packaged.table("spec"), packaged.text("path")
        called = spec.name("name")
        path = path if chip is None else path_for(path, chip.folder)
        component = Component(
            called,
            spec.choice("role", ROLES),
            inside(folder, path),
            _read_tensors(spec, "inputs"),
            _read_tensors(spec, "outputs"),
            tuple(inside(folder, part) for part in _part_names(path, files)),
            name,
            frozenset(storage for storage in storages if storage is not None),
            _read_natives(packaged),
            spec.optional_text("folder") or "",
            _read_lora_inputs(packaged),
            None if chip is None else chip.compiled(called),
            recipe.optional_choice("compute", ARITHMETICS) or FLOAT32,
        )
        if not component.outputs:
            raise RunnerFailure("bad-package", f"{component.name} has no outputs.")
        components[component.name] = component
    return components


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


def _read_tensors(spec: Table, key: str) -> dict[str, Tensor]:
    tensors = (
        Tensor(table.name("name"), table.text("dtype"), table.shape("shape"))
        for table in spec.tables(key, most=_MOST_TENSORS)
    )
    return {tensor.name: tensor for tensor in tensors}


def _read_natives(packaged: Table) -> dict[str, NativeTensor]:
    return {
        tensor: NativeTensor(native.text("name"), native.choice("layout", NATIVE_LAYOUTS, "plain"))
        for tensor, native in packaged.named_tables("natives", most=_MOST_TENSORS)
    }


def _read_lora_inputs(packaged: Table) -> dict[str, tuple[int, ...]]:
    return {
        layer: tuple(axis for axis in entry.shape("shape") if isinstance(axis, int))
        for layer, entry in packaged.named_tables("lora_inputs", most=_MOST_RULES)
    }


def _read_golden(folder: Path, golden: Table) -> Golden:
    return Golden(
        folder=inside(folder, golden.text("folder")),
        prompt=golden.optional_text("prompt"),
        negative_prompt=golden.optional_text("negative_prompt"),
        width=golden.whole("width", least=1, most=LONGEST_SIDE),
        height=golden.whole("height", least=1, most=LONGEST_SIDE),
        steps=golden.whole("steps", least=1, most=MOST_STEPS),
        guidance=golden.number("guidance"),
        seed=golden.whole("seed", least=0, most=HIGHEST_SEED),
        scheduler=golden.text("scheduler"),
        strength=golden.optional_number("strength", least=0, most=1),
        guidance_start=golden.number("guidance_start", 0.0, least=0, most=1),
        guidance_stop=golden.number("guidance_stop", 1.0, least=0, most=1),
        cache_interval=golden.whole("cache_interval", 1, least=1, most=MOST_STEPS),
        image_guidance=golden.optional_number("image_guidance", least=1),
        noise_level=golden.optional_whole("noise_level", least=0, most=MOST_NOISE_LEVEL),
        class_label=golden.optional_whole("class_label", least=0, most=MOST_CLASSES),
    )


def _verify(folder: Path, files: list[tuple[str, str]]) -> None:
    for relative, expected in files:
        path = inside(folder, relative)
        digest = hashlib.sha256()
        try:
            with open_regular(path) as file:
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
