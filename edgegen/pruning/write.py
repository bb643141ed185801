"""Writes a pruned model: the original's folder, with a denoiser whose weights are cut.

One tensor is in memory at a time, and keeps the type that it is stored in.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.core.codec import dump_json, encode
from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.model import Component, PipelineSpec
from edgegen.core.regular_files import NotRegularError, copy_regular
from edgegen.models.binding import BoundTensor, bind
from edgegen.models.model_folder import ModelFolder, model_roots
from edgegen.models.origin import ORIGIN_NAME, Origin
from edgegen.models.safetensors import STORED_TYPES, TensorEntry, read_tensor
from edgegen.models.weights import Weights
from edgegen.networks import network_of
from edgegen.networks.pruned import KEY, kept_places
from edgegen.pruning.scores import Structure
from edgegen.pruning.select import Kept
from edgegen.reference.case import denoiser

WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"
TEXTS = (".json", ".txt", ".model", ".md")
_LICENCES = ("licen", "notice", "copying", "copyright")
_INDEX = ".safetensors.index.json"
_TYPE_NAMES = {name: key for key, (name, _) in STORED_TYPES.items()}


def write_pruned(
    model: ModelFolder,
    spec: PipelineSpec,
    structure: Structure,
    kept: Kept,
    origin: Origin,
    folder: Path,
) -> None:
    """Write the pruned model into an empty `folder`.

    Raises SourceError where a file of the model cannot be read or is none of its own.
    """
    component = denoiser(spec)
    for source, name in _copied(model.path, spec, component):
        destination = folder / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        _copy(model.path, source, destination)
    place = folder / component.folder
    place.mkdir()
    config = ComponentConfig.of_network(model.path / component.folder / "config.json")
    written = {**config.data, KEY: encode(kept.cuts(structure))}
    (place / "config.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    write_cut_weights(model, component, structure, kept, place / WEIGHTS_NAME)
    (folder / ORIGIN_NAME).write_text(dump_json(origin), encoding="utf-8")


def write_cut_weights(
    model: ModelFolder, component: Component, structure: Structure, kept: Kept, destination: Path
) -> None:
    """Write what stays of a denoiser's weights as safetensors, under the names of today."""
    weights = Weights.open(model.path / component.folder, component.variant)
    rules = network_of(component.class_name).keys
    bound = bind(weights, structure.parameters, rules)
    selections = _selections(structure, kept)
    stay = {name: it for name, it in bound.items() if not _is_dropped(name, structure, kept)}
    entries = {name: weights.entries[it.key] for name, it in stay.items()}
    shapes = {name: _shape(it.shape, selections.get(name, {})) for name, it in stay.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, entry in entries.items():
        size = entry.size_bytes // max(1, entry.elements) * math.prod(shapes[name])
        header[name] = {
            "dtype": _TYPE_NAMES[entry.dtype],
            "shape": list(shapes[name]),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with destination.open("xb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name, entry in entries.items():
            file.write(_cut(entry, stay[name], selections.get(name, {})).tobytes())


def _selections(structure: Structure, kept: Kept) -> dict[str, dict[int, list[int]]]:
    """Return for each parameter that is cut which places of which axes stay."""
    found: dict[str, dict[int, list[int]]] = {}
    for path, units in kept.units.items():
        layer = structure.layers[path]
        for slice_ in layer.slices:
            size = structure.parameters[slice_.parameter][slice_.axis]
            places = kept_places(layer, slice_, size, units)
            found.setdefault(slice_.parameter, {})[slice_.axis] = places
    return found


def _is_dropped(name: str, structure: Structure, kept: Kept) -> bool:
    return any(
        name.startswith(f"{path}.") and name not in structure.blocks[path].left
        for path in kept.dropped
    )


def _shape(shape: tuple[int, ...], selection: Mapping[int, list[int]]) -> tuple[int, ...]:
    return tuple(
        len(selection[axis]) if axis in selection else size for axis, size in enumerate(shape)
    )


def _cut(
    entry: TensorEntry, tensor: BoundTensor, selection: Mapping[int, list[int]]
) -> NDArray[Any]:
    """Return what stays of a tensor, as the numbers are stored."""
    width = entry.size_bytes // max(1, entry.elements)
    array: NDArray[Any] = np.frombuffer(read_tensor(entry), f"V{width}").reshape(tensor.shape)
    for axis, places in selection.items():
        array = np.take(array, places, axis)
    return np.ascontiguousarray(array)


def _copied(folder: Path, spec: PipelineSpec, component: Component) -> Iterator[tuple[Path, Path]]:
    """Yield the model's texts, and the weights of all components but one, with their places."""
    for path in sorted({*folder.glob("*"), *folder.glob("*/*")}):
        place = path.relative_to(folder)
        is_text = path.suffix in TEXTS and not path.name.endswith(_INDEX)
        is_licence = len(place.parts) == 1 and path.name.lower().startswith(_LICENCES)
        if path.is_dir() or place.parts[0] == component.folder or path.name.startswith("."):
            continue
        if (is_text or is_licence) and place.name != ORIGIN_NAME:
            yield path, place
    others = {it.folder: it.variant for it in spec.components if it.folder != component.folder}
    for name, variant in others.items():
        weights = Weights.open(folder / name, variant)
        for file in weights.files:
            yield file, file.relative_to(folder)
        if len(weights.files) > 1:
            for index in sorted((folder / name).glob("*.index.json")):
                yield index, index.relative_to(folder)


def _copy(model: Path, source: Path, destination: Path) -> None:
    try:
        copy_regular(source, destination, roots=model_roots(model))
    except NotRegularError as error:
        raise SourceError(
            f"{source} is not copied into a pruned model: {error}.",
            hint="Put the file itself there.",
        ) from error
