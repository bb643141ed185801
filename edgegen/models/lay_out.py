"""Lays out as a diffusers folder what is none: a checkpoint in one file, or a folder with changes.

First a value is made of all that the folder will have, from headers and small files; so what cannot
be read leaves nothing behind. Its hash is the folder's name: the same model is laid out once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from edgegen.checkpoints.form import (
    CONTROLNET,
    VAE,
    Checkpoint,
    Component,
    read_controlnet_file,
    read_vae_file,
)
from edgegen.checkpoints.prediction import TYPES
from edgegen.checkpoints.vocabulary import SIZE, write_tokenizer
from edgegen.core.codec import dump_json
from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import ConfigError, SourceError, nearest
from edgegen.core.reading import Reading
from edgegen.core.staging import staged_folder
from edgegen.families import steered_class, steering_slot
from edgegen.models.base_folder import BaseFolder, component_files
from edgegen.models.checkpoint_weights import checkpoint_in, open_checkpoint_file
from edgegen.models.index import INDEX_NAME
from edgegen.models.layouts import NOTE_NAME, VERSION, LayoutNote, Noted, layouts_folder
from edgegen.models.model_folder import model_roots
from edgegen.models.scheduler import CONFIG_PATH

_HASH_DIGITS = 24


@dataclass(kw_only=True)
class _Plan:
    """What a layout will have, by its path there: texts, files to link, tokenizers to write."""

    index: dict[str, Any] = field(default_factory=dict)
    configs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    links: dict[str, Path] = field(default_factory=dict)
    tokenizers: dict[str, str] = field(default_factory=dict)
    noted: dict[str, Noted] = field(default_factory=dict)
    form: str | None = None
    said: list[str] = field(default_factory=list)


def lay_out(source: Path, reading: Reading) -> Path:
    """Return a folder in the cache that reads as `source` does: a checkpoint, or a folder.

    Raises ConfigError for what `reading` cannot be, SourceError for a file that is no checkpoint or
    lacks what no folder gives, and ResourceError where the cache cannot be written.
    """
    if reading.prediction is not None and reading.prediction not in TYPES:
        raise ConfigError(
            f"A UNet does not predict '{reading.prediction:.40}'.",
            hint=nearest(reading.prediction, TYPES),
        )
    plan = _Plan()
    if source.is_dir():
        _take_folder(plan, BaseFolder.open(source), frozenset())
    else:
        _take_checkpoint(plan, source, reading)
    if reading.vae is not None:
        _take_vae(plan, Path(reading.vae).expanduser())
    if reading.controlnets:
        _take_controlnets(plan, [Path(it).expanduser() for it in reading.controlnets])
    if reading.pipeline is not None:
        plan.index["_class_name"] = reading.pipeline
    if reading.prediction is not None and CONFIG_PATH in plan.configs:
        said = {"prediction_type": reading.prediction}
        plan.configs[CONFIG_PATH] = {**plan.configs[CONFIG_PATH], **said}
    return _written(plan, source.resolve().name if source.is_dir() else source.stem)


def _take_checkpoint(plan: _Plan, file: Path, reading: Reading) -> None:
    opened = open_checkpoint_file(file)
    checkpoint = checkpoint_in(opened, reading.prediction)
    base = None if reading.config is None else BaseFolder.open(Path(reading.config).expanduser())
    plan.form = f"{checkpoint.title}, in one file"
    if opened.quantizations:
        plan.form += f", GGUF: {', '.join(opened.quantizations)}"
    if checkpoint.prediction is not None and base is None:
        plan.said.append(f"predicts {checkpoint.prediction.type}: {checkpoint.prediction.why}")
    for why, count in checkpoint.left_out.items():
        plan.said.append(f"left out: {why}, {count:,} tensor{'s' * (count > 1)}")
    if base is not None:
        _take_folder(plan, base, frozenset(checkpoint.components))
        missing = sorted(set(checkpoint.components) - set(plan.index))
        if missing:
            raise SourceError(
                f"{file} has a {missing[0]}, and {base.folder} has none.",
                hint="Give the folder of a model of the same kind with --config.",
            )
    else:
        _take_configs(plan, checkpoint, file, has_vae=reading.vae is not None)
    for name in checkpoint.components:
        plan.noted[name] = _noted(file, name)


def _take_configs(plan: _Plan, checkpoint: Checkpoint, file: Path, *, has_vae: bool) -> None:
    if not checkpoint.index:
        raise SourceError(
            f"{file} holds {checkpoint.title}, and no text encoder that edgegen knows.",
            hint="Add --config FOLDER: a model of its kind in diffusers' layout, from which all "
            "is taken that the file lacks.",
        )
    if VAE not in checkpoint.components and not has_vae:
        raise SourceError(
            f"{file} holds no autoencoder.",
            hint="Add --vae FILE, the autoencoder of its kind of model.",
        )
    for name, component in checkpoint.components.items():
        _check_vocabulary(component, file)
        plan.configs[f"{name}/config.json"] = _config(component)
    if VAE not in checkpoint.components:
        plan.configs[f"{VAE}/config.json"] = checkpoint.vae
    plan.index.update(checkpoint.index)
    plan.configs[CONFIG_PATH] = checkpoint.scheduler
    plan.tokenizers.update(checkpoint.tokenizers)


def _check_vocabulary(component: Component, file: Path) -> None:
    """Refuse a text encoder with other words than CLIP's, whose tokenizer edgegen has."""
    words = (component.config or {}).get("vocab_size", SIZE)
    if words != SIZE:
        raise SourceError(
            f"{file} has a text encoder of {words:,} tokens, and CLIP has {SIZE:,}.",
            hint="Add --config FOLDER with its tokenizer, a model in diffusers' layout.",
        )


def _config(component: Component) -> dict[str, Any]:
    named = {} if component.library == "transformers" else {"_class_name": component.class_name}
    return {**named, **(component.config or {})}


def _take_folder(plan: _Plan, base: BaseFolder, elsewhere: frozenset[str]) -> None:
    """Take a folder's small files, and link its weights but those of components `elsewhere`."""
    plan.index.update(base.index)
    plan.texts.update(base.texts)
    if CONFIG_PATH in plan.texts:
        plan.configs[CONFIG_PATH] = ComponentConfig.read(base.folder / CONFIG_PATH).data
        del plan.texts[CONFIG_PATH]
    for name, path in base.weights.items():
        if name.partition("/")[0] not in elsewhere:
            plan.links[name] = path
    plan.noted.update({k: it for k, it in base.noted.items() if k not in elsewhere})


def _take_vae(plan: _Plan, given: Path) -> None:
    """Take another autoencoder, from a file or a folder."""
    config_name = f"{VAE}/config.json"
    own = plan.configs.pop(config_name, None)
    if own is None and config_name in plan.texts:
        own = json.loads(plan.texts[config_name])
    for taken in (plan.texts, plan.links):
        for name in [name for name in taken if name.startswith(f"{VAE}/")]:
            del taken[name]
    plan.noted.pop(VAE, None)
    if given.is_dir():
        folder = given / VAE if (given / VAE).is_dir() else given
        texts, links = component_files(folder, VAE)
        config = ComponentConfig.of_network(folder / "config.json")
        plan.index[VAE] = ["diffusers", config.text("_class_name")]
        plan.texts.update(texts)
        plan.links.update(links)
    else:
        component = read_vae_file(open_checkpoint_file(given).shapes, where=str(given))
        kept = own if own and own.get("_class_name") == component.class_name else {}
        plan.index[VAE] = [component.library, component.class_name]
        plan.configs[config_name] = {**kept, **_config(component)}
        plan.noted[VAE] = _noted(given, None)
    plan.said.append(f"autoencoder: {given.name}")


def _take_controlnets(plan: _Plan, given: Sequence[Path]) -> None:
    """Take networks that steer the model, in place of those that it may have."""
    files = {it: _controlnet_in(it) for it in given if not it.is_dir()}
    classes = [
        files[it].class_name
        if it in files
        else ComponentConfig.of_network(it / "config.json").text("_class_name")
        for it in given
    ]
    other = next((it for it in classes if it != classes[0]), None)
    if other is not None:
        raise ConfigError(
            f"A {classes[0]} and a {other} do not steer one model.",
            hint="Give --controlnet networks of one class.",
        )
    pipeline = steered_class(str(plan.index.get("_class_name", "")), plan.index, classes[0])
    slot = steering_slot(pipeline)
    _drop(plan, slot.name)
    for index, place in enumerate(given):
        name = slot.name if index == 0 else f"{slot.name}_{index}"
        if place in files:
            plan.configs[f"{name}/config.json"] = _config(files[place])
            plan.noted[name] = _noted(place, CONTROLNET)
        else:
            texts, links = component_files(place, name, roots=model_roots(place))
            plan.texts.update(texts)
            plan.links.update(links)
        plan.said.append(f"steered by: {place.resolve().name}")
    plan.index["_class_name"] = pipeline
    plan.index[slot.name] = ["diffusers", classes[0] if len(classes) == 1 else slot.several]


def _controlnet_in(file: Path) -> Component:
    return read_controlnet_file(open_checkpoint_file(file).shapes, where=str(file))


def _drop(plan: _Plan, slot: str) -> None:
    """Leave out what a folder has for a slot that several networks may fill."""
    of_slot = re.compile(rf"{slot}(_\d+)?/")
    for taken in (plan.texts, plan.links, plan.configs):
        for name in [name for name in taken if of_slot.match(name)]:
            del taken[name]
    for name in [name for name in plan.noted if of_slot.match(f"{name}/")]:
        del plan.noted[name]


def _noted(file: Path, part: str | None) -> Noted:
    status = file.stat()
    return Noted(
        file=str(file.absolute()),
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        part=part,
    )


def _written(plan: _Plan, name: str) -> Path:
    texts = {**plan.texts, INDEX_NAME: _json(plan.index)}
    texts |= {path: _json(config) for path, config in plan.configs.items()}
    note = LayoutNote(
        version=VERSION,
        name=name,
        form=plan.form,
        said=tuple(plan.said),
        components=plan.noted,
    )
    texts[NOTE_NAME] = dump_json(note)
    links = {path: str(target.absolute()) for path, target in sorted(plan.links.items())}
    digest = hashlib.sha256(
        json.dumps([texts, links, plan.tokenizers], sort_keys=True).encode()
    ).hexdigest()
    folder = layouts_folder() / digest[:_HASH_DIGITS]
    if (folder / NOTE_NAME).is_file():
        return folder
    with staged_folder(folder, replace=True, setting="EDGEGEN_CACHE_DIR") as staging:
        place = partial(_place, staging)
        for path, text in texts.items():
            place(path).write_bytes(text.encode("utf-8", errors="surrogateescape"))
        for path, target in links.items():
            place(path).symlink_to(target)
        for path, pad_token in plan.tokenizers.items():
            place(f"{path}/-")
            write_tokenizer(staging / path, pad_token=pad_token)
    return folder


def _place(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
