"""Makes the folder of a model with adapters: links to the model's files, and what is added.

It lies in the cache under a hash of all that went into it, so a command finds it again, and every
process reads the same. The weights stay where they are.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgegen.core.codec import dump_json, encode
from edgegen.core.files import sha256_of
from edgegen.core.folders import cache_folder
from edgegen.core.model import ADAPTED_ROLES, PipelineSpec
from edgegen.core.progress import Progress
from edgegen.core.scratch import ScratchFolder
from edgegen.core.staging import staged_folder
from edgegen.models.adapters.adapter_file import AdapterFile
from edgegen.models.adapters.applied import NAME, PLACE, AdaptedModel, AppliedLora
from edgegen.models.adapters.embedding_file import parse_embedding
from edgegen.models.adapters.image_prompt import NO_IMAGE_PROMPT, ImagePromptChoice, prompt_with
from edgegen.models.adapters.lora_choice import parse_lora
from edgegen.models.adapters.match import match
from edgegen.models.adapters.module_names import Target, target_of
from edgegen.models.adapters.words import Grown, grow
from edgegen.models.model_folder import ModelFolder
from edgegen.models.pipeline_source import folder_source, open_source
from edgegen.models.read import read_pipeline
from edgegen.models.weight_source import PipelineSource
from edgegen.networks import network_of

SETTING = "EDGEGEN_CACHE_DIR"
_DIGITS = 32


def with_adapters(
    model: ModelFolder,
    loras: Sequence[str],
    embeddings: Sequence[str] = (),
    image_prompt: ImagePromptChoice | None = None,
    *,
    offline: bool = False,
    progress: Progress | None = None,
) -> ModelFolder:
    """Return a model with what `--lora`, `--embedding` and `--ip-adapter` name, or as it is.

    LoRAs of the hub are fetched into its cache; `offline` uses the cache alone. All is checked on
    headers. Raises SourceError for an adapter that isn't one of this model,
    ConfigError for a scale or a word that is none, and ResourceError where the cache cannot be
    written.
    """
    if not loras and not embeddings and image_prompt is None:
        return model
    choices = [parse_lora(text, offline=offline, progress=progress) for text in loras]
    wanted = [parse_embedding(text) for text in embeddings]
    spec = read_pipeline(model)
    source = open_source(folder_source(model.path))
    targets = list(_targets(spec, source))
    applied = tuple(
        AppliedLora(
            file=str(choice.file),
            sha256=sha256_of(choice.file),
            scale=choice.scale,
            changes=match(AdapterFile.open(choice.file), targets, model.source),
        )
        for choice in choices
    )
    grown = Grown(embeddings=(), files={})
    if wanted:
        with ScratchFolder("words") as scratch:
            grown = grow(wanted, spec, model.path, source, scratch)
    prompted = NO_IMAGE_PROMPT
    if image_prompt is not None:
        prompted = prompt_with(image_prompt, spec, model.path, source)
    adapted = AdaptedModel(
        base=str(model.path.absolute()),
        loras=applied,
        embeddings=grown.embeddings,
        image_prompt=prompted.applied,
    )
    changed = {**grown.files, **prompted.files}
    return replace(model, path=_made(adapted, model.path, changed, prompted.links))


def _targets(spec: PipelineSpec, source: PipelineSource) -> Iterator[Target]:
    for component in {it.folder: it for it in spec.components}.values():
        if component.role in ADAPTED_ROLES:
            weights = source.weights(component.folder, component.variant)
            yield target_of(
                component.folder,
                component.role,
                {key: entry.shape for key, entry in weights.entries.items()},
                network_of(component.class_name).keys,
            )


def _made(
    adapted: AdaptedModel, base: Path, changed: Mapping[str, str], links: Mapping[str, Path]
) -> Path:
    """Return the folder of a model with adapters, and with files that are `changed`; make it.

    `links` are files of others, by their names in the folder.
    """
    folders = {name.partition("/")[0] for name in links}
    files = {path.relative_to(base).as_posix(): path for path in sorted(_files(base))}
    files = {name: it for name, it in files.items() if name.partition("/")[0] not in folders}
    files |= links
    linked = {name: str(path) for name, path in links.items()}
    content = json.dumps([encode(adapted), sorted(files), linked, changed], sort_keys=True)
    key = hashlib.sha256(content.encode("utf-8", errors="surrogateescape")).hexdigest()[:_DIGITS]
    folder = cache_folder() / PLACE / key
    if (folder / NAME).is_file():
        return folder
    with staged_folder(folder, replace=True, setting=SETTING) as staging:
        for name in {**files, **changed}:
            (staging / name).parent.mkdir(exist_ok=True)
            if name in changed:
                (staging / name).write_text(changed[name], encoding="utf-8")
            else:
                (staging / name).symlink_to(files[name].absolute())
        (staging / NAME).write_text(dump_json(adapted), encoding="utf-8")
    return folder


def _files(base: Path) -> Iterator[Path]:
    """Yield the files of a diffusers folder: those in it, and in the folders of its components."""
    with os.scandir(base) as entries:
        for entry in entries:
            path = base / entry.name
            if path.is_file():
                if entry.name != NAME:
                    yield path
            elif path.is_dir() and not entry.name.startswith("."):
                yield from (inner for inner in path.iterdir() if inner.is_file())
