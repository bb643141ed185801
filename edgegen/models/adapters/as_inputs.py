"""Makes LoRAs into what a package's layers take at run time: one file of thin matrices.

All LoRAs of a layer become one of their joint rank. The file is a safetensors file, whose tensors
`edgegen_runner.lora` names; the same LoRAs at the same scales give the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from edgegen_runner.lora import DOWN, UP, shapes_of
from numpy.typing import NDArray

from edgegen.core.errors import SourceError
from edgegen.core.files import translate_disk_errors
from edgegen.core.model import ADAPTED_ROLES, LoraInput, main_role
from edgegen.core.package import PackageManifest
from edgegen.models.adapters.adapter_file import AdapterFile
from edgegen.models.adapters.deltas import ShapeError, factors, rank_of_factors
from edgegen.models.adapters.lora_choice import LoraChoice
from edgegen.models.adapters.match import match
from edgegen.models.adapters.module_names import Target, target_of
from edgegen.networks import network_of

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Added:
    """A module of an adapter that a layer gets, and what it is multiplied with."""

    file: AdapterFile
    module: str
    factor: float

    @property
    def rank(self) -> int:
        """Return the rank that it adds."""
        return rank_of_factors(self.file.shapes(self.module))

    def read(self) -> tuple[Array, Array]:
        """Return its matrices, up with the factor in it."""
        read = partial(self.file.read, self.module)
        up, down = factors(self.file.shapes(self.module), read)
        return up * np.float32(self.factor), down


def write_as_inputs(
    choices: Sequence[LoraChoice], manifest: PackageManifest, destination: Path
) -> None:
    """Write what the layers of a package get of LoRAs.

    All is checked on headers first. Raises SourceError for a LoRA that isn't one of this model, and
    for one that is no product of two thin matrices, ResourceError where the disk is full.
    """
    layers = _layers(manifest)
    targets = list(_targets(manifest, layers))
    added: dict[tuple[str, str], list[_Added]] = {}
    for choice in choices:
        file = AdapterFile.open(choice.file)
        _refuse_other_forms(file)
        for folder, modules in match(file, targets, manifest.source.model).items():
            for key, module in modules.items():
                factor = choice.scale * file.factor(module)
                one = _Added(file=file, module=module, factor=factor)
                added.setdefault((folder, key), []).append(one)
    shapes: dict[str, tuple[int, ...]] = {}
    for (folder, key), loras in added.items():
        name, layer = layers[folder][key]
        pair = shapes_of(layer.shape, sum(it.rank for it in loras))
        for end, shape in zip((DOWN, UP), pair, strict=True):
            shapes[f"{folder}/{name}{end}"] = shape
    header = json.dumps(_header(shapes), separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with translate_disk_errors(destination.parent), destination.open("wb") as file_:
        file_.write(len(header).to_bytes(8, "little") + header)
        for (folder, key), loras in added.items():
            _, layer = layers[folder][key]
            for array in _matrices(loras, layer.shape):
                file_.write(np.ascontiguousarray(array, "<f4").data)


def _matrices(loras: Sequence[_Added], weight: tuple[int, ...]) -> Iterator[Array]:
    """Yield a layer's inputs: down, then up."""
    pairs = [it.read() for it in loras]
    up = np.concatenate([up for up, _ in pairs], axis=1)
    down = np.concatenate([down for _, down in pairs])
    to_down, to_up = shapes_of(weight, len(down))
    is_kernel = len(weight) > 2
    yield (down if is_kernel else down.T).reshape(to_down)
    yield (up if is_kernel else up.T).reshape(to_up)


def _layers(manifest: PackageManifest) -> dict[str, dict[str, tuple[str, LoraInput]]]:
    """Return the layers that take a LoRA: folder of a network → key of a weight → path, layer."""
    found: dict[str, dict[str, tuple[str, LoraInput]]] = {}
    for component in manifest.components:
        for name, layer in component.lora_inputs.items():
            found.setdefault(component.spec.folder, {})[layer.weight] = (name, layer)
    return found


def _targets(
    manifest: PackageManifest, layers: Mapping[str, Mapping[str, tuple[str, LoraInput]]]
) -> Iterator[Target]:
    for spec in {it.spec.folder: it.spec for it in manifest.components}.values():
        if main_role(spec.role) in ADAPTED_ROLES:
            yield target_of(
                spec.folder,
                main_role(spec.role),
                {key: layer.shape for key, (_, layer) in layers.get(spec.folder, {}).items()},
                network_of(spec.class_name).keys,
            )


def _refuse_other_forms(file: AdapterFile) -> None:
    for module in file.modules:
        try:
            rank_of_factors(file.shapes(module))
        except ShapeError as error:
            raise SourceError(
                f"{file.path}: '{module}' cannot be an input of a graph: {error}.",
                hint="LoRA, LoCon and LoHa can. Add this one to the weights: edgegen package MODEL "
                "--lora FILE.",
            ) from error


def _header(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, object]:
    header: dict[str, object] = {}
    position = 0
    for name, shape in shapes.items():
        end = position + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [position, end]}
        position = end
    return header
