"""Turns what the user types for MODEL into a folder on this machine."""

from __future__ import annotations

import difflib
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from edgegen.builtin.folder import PREFIX, builtin_folder
from edgegen.builtin.models import BUILTIN_MODELS
from edgegen.core.errors import ConfigError, SourceError, nearest
from edgegen.core.progress import Progress, SilentProgress
from edgegen.core.reading import AS_IT_IS, Reading
from edgegen.models.index import INDEX_NAME
from edgegen.models.layouts import CHECKPOINT_SUFFIXES
from edgegen.models.model_folder import ModelFolder
from edgegen.models.weight_files import PICKLE_SUFFIXES, is_checkpoint_name

_HUB_ID = re.compile(
    r"(?P<id>[\w][\w.-]*/[\w][\w.-]*)(?:@(?P<revision>[\w][\w./-]*))?(?::(?P<inner>[\w][^:?#]*))?"
)
_HUB_URL = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?P<id>[\w][\w.-]*/[\w][\w.-]*)"
    r"(?:/(?P<page>tree|commit|blob|resolve)/(?P<revision>[\w][\w.-]*)(?P<inner>/[^?#]*)?)?/?(?:[?#].*)?"
)
"""The address of a model's page, as it is copied from a browser."""

_CONFIG_NAME, _WEIGHTS_NAME = "config.json", "diffusion_pytorch_model.safetensors"
"""The files of a network by itself, as `save_pretrained` writes them."""


def builtin_models() -> tuple[str, ...]:
    """Return the names of the models that ship with edgegen."""
    return tuple(sorted(name.removeprefix(PREFIX) for name in BUILTIN_MODELS))


def resolve(
    model: str,
    *,
    revision: str | None = None,
    variant: str | None = None,
    offline: bool = False,
    reading: Reading = AS_IT_IS,
    progress: Progress | None = None,
) -> ModelFolder:
    """Find the folder of `builtin:NAME`, of a path, or of a hub id `ORG/NAME[@REVISION][:PATH]`.

    PATH is a folder of the repository with a pipeline in it, or a checkpoint in one file.

    A checkpoint in one file, and what `reading` changes, is laid out as a folder in the cache. An
    existing folder wins over a hub id of the same name. Files of a hub id are downloaded into
    the hub's own cache, and found there again; `offline` uses the cache alone. Of weights, those of
    `variant` are taken where there are some. Raises SourceError.
    """
    model = _without_address(model)
    local = _local(model, revision)
    shown = progress or SilentProgress()
    parts = _fetched(reading, offline=offline, progress=shown)
    if local is not None:
        return _read_as(replace(local, variant=variant), reading, parts)
    from edgegen.models.hub import download, download_file

    repository, revision, inner = _hub_id(model, revision)
    if inner.lower().endswith(CHECKPOINT_SUFFIXES):
        path, commit = download_file(repository, revision, inner, offline=offline, progress=shown)
    else:
        path, commit = download(
            repository, revision, inner, variant=variant, offline=offline, progress=shown
        )
    folder = ModelFolder(path=path, source=model, revision=commit, variant=variant)
    return _read_as(folder, reading, parts)


@contextmanager
def resolve_headers(
    model: str,
    *,
    revision: str | None = None,
    variant: str | None = None,
    offline: bool = False,
    reading: Reading = AS_IT_IS,
    progress: Progress | None = None,
) -> Iterator[ModelFolder]:
    """Like `resolve`, for reading configurations and headers only, inside the `with` block.

    Of a hub id whose weights are not here yet only the headers are fetched: the folder then holds
    sparse weight files of the right size, which read as zeros. Raises SourceError.
    """
    model = _without_address(model)
    local = _local(model, revision)
    shown = progress or SilentProgress()
    parts = _fetched(reading, offline=offline, progress=shown)
    if local is not None:
        yield _read_as(replace(local, variant=variant), reading, parts)
        return
    from edgegen.models.hub import fetch_file_header, fetch_headers

    repository, revision, inner = _hub_id(model, revision)
    if inner.lower().endswith(CHECKPOINT_SUFFIXES):
        opened = fetch_file_header(repository, revision, inner, offline=offline, progress=shown)
    else:
        opened = fetch_headers(
            repository, revision, inner, variant=variant, offline=offline, progress=shown
        )
    with opened as (path, commit):
        folder = ModelFolder(path=path, source=model, revision=commit, variant=variant)
        read = _read_as(folder, reading, parts)
        try:
            yield read
        finally:
            if read.layout is not None and _is_temporary(path):
                shutil.rmtree(read.path, ignore_errors=True)


def _local(model: str, revision: str | None) -> ModelFolder | None:
    if model.startswith(PREFIX):
        return _builtin(model, revision)
    folder = Path(model).expanduser()
    if model and folder.is_dir():
        _refuse_revision(model, revision)
        return ModelFolder(path=folder, source=model)
    if folder.is_file():
        _refuse_revision(model, revision)
        if folder.suffix.lower() not in CHECKPOINT_SUFFIXES:
            raise _no_checkpoint(folder)
        return ModelFolder(path=folder, source=model)
    return None


def _fetched(reading: Reading, *, offline: bool, progress: Progress) -> Reading:
    """Return what is said of a model with the folders here of networks that the hub has."""
    folders = tuple(
        _network_folder(it, offline=offline, progress=progress) for it in reading.controlnets
    )
    return replace(reading, controlnets=folders)


def _network_folder(given: str, *, offline: bool, progress: Progress) -> str:
    """Return the folder or file of a network: one of this machine, or what a hub id names."""
    path = Path(given).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix.lower() in CHECKPOINT_SUFFIXES):
        return given
    match = _HUB_ID.fullmatch(_without_address(given))
    if match is None or Path(given).exists():
        raise SourceError(
            f"There is no folder {given}, and it is not the id of a network on the hub either.",
            hint="Give --controlnet its folder, with its config.json, its file (.safetensors), or "
            "its hub id: ORG/NAME.",
        )
    from edgegen.models.hub import download_file

    inner = (match["inner"] or "").strip("/")
    is_file = inner.lower().endswith(CHECKPOINT_SUFFIXES)
    prefix = f"{inner}/" if inner else ""
    names = [inner] if is_file else [prefix + _CONFIG_NAME, prefix + _WEIGHTS_NAME]
    for name in names:
        path, _ = download_file(
            match["id"], match["revision"], name, offline=offline, progress=progress
        )
    return str(path if is_file else path.parent)


def _read_as(folder: ModelFolder, reading: Reading, parts: Reading) -> ModelFolder:
    """Lay out what is no diffusers folder as it stands, or not as it is to be read.

    `parts` is what `reading` says, with folders of this machine.
    """
    if folder.path.is_dir() and reading == AS_IT_IS:
        return folder
    if folder.path.is_dir() and reading.config is not None:
        raise ConfigError(
            f"{folder.source} has configurations, and --config is for a file that has none.",
            hint="Leave --config out.",
        )
    from edgegen.models.lay_out import lay_out

    return replace(folder, path=lay_out(folder.path, parts), reading=reading)


def _is_temporary(path: Path) -> bool:
    """Return whether a model lies in a folder that is removed when its headers were read."""
    return path.resolve().is_relative_to(Path(tempfile.gettempdir()).resolve())


def _without_address(model: str) -> str:
    """Return `ORG/NAME[@REVISION][:PATH]` for the address of a page, anything else as it is."""
    match = _HUB_URL.fullmatch(model)
    if match is None or Path(model).exists():
        return model
    name = match["id"] + (f"@{match['revision']}" if match["revision"] else "")
    inner = unquote((match["inner"] or "").strip("/"))
    if inner.endswith(INDEX_NAME):
        inner = inner.removesuffix(INDEX_NAME).strip("/")
    elif match["page"] in ("blob", "resolve") and not is_checkpoint_name(inner):
        raise SourceError(
            f"{model} is the address of a file inside a model.",
            hint=f"Give the whole pipeline: {name}",
        )
    return f"{name}:{inner}" if inner else name


def hub_place(text: str) -> tuple[str, str | None, str] | None:
    """Return the repository, revision and path in it that a text names; None for anything else.

    It is `ORG/NAME[@REVISION][:PATH]`, or the address of a page. What ends as a file of weights
    does is no repository, and neither is what lies in a folder of this machine.
    """
    match = _HUB_ID.fullmatch(_without_address(text))
    if match is None or match["id"].lower().endswith((*CHECKPOINT_SUFFIXES, *PICKLE_SUFFIXES)):
        return None
    if _without_address(text) == text and Path(match["id"]).parent.is_dir():
        return None
    return match["id"], match["revision"], (match["inner"] or "").strip("/")


def _hub_id(model: str, revision: str | None) -> tuple[str, str | None, str]:
    """Return the repository, the revision and the path in it of a model of the hub."""
    match = _HUB_ID.fullmatch(model)
    if match is None:
        known = ", ".join(PREFIX + name for name in builtin_models())
        close = difflib.get_close_matches(model.lower(), builtin_models(), n=1)
        guess = f"Did you mean '{PREFIX}{close[0]}'? " if close else ""
        raise SourceError(
            f"There is no folder {model}, and it is not the id of a model on the hub either.",
            hint=f"{guess}Give a diffusers folder, a checkpoint ({' or '.join(CHECKPOINT_SUFFIXES)}"
            f"), a hub id (ORG/NAME or ORG/NAME@REVISION, with :FOLDER or :FILE for a part of it), "
            f"or {known}.",
        )
    if revision and match["revision"] and revision != match["revision"]:
        raise SourceError(
            f"{model} and --revision {revision} name different revisions.",
            hint="Give the revision once.",
        )
    inner = (match["inner"] or "").strip("/")
    if ".." in inner.split("/"):
        raise SourceError(
            f"{model}: '{inner}' leads out of the repository.", hint="Give a path inside it."
        )
    return match["id"], revision or match["revision"], inner


def _builtin(model: str, revision: str | None) -> ModelFolder:
    name = model.removeprefix(PREFIX)
    known = builtin_models()
    if name not in known:
        raise SourceError(f"There is no built-in model '{name}'.", hint=nearest(name, known))
    _refuse_revision(model, revision)
    return ModelFolder(path=builtin_folder(name), source=model)


def _refuse_revision(model: str, revision: str | None) -> None:
    if revision is not None:
        raise SourceError(
            f"{model} has no revisions.", hint="Leave --revision out; it is for models of the hub."
        )


def _no_checkpoint(path: Path) -> SourceError:
    hint = (
        "Give the folder of a diffusers pipeline, the one with model_index.json, or a checkpoint "
        f"in one file ({' or '.join(CHECKPOINT_SUFFIXES)})."
    )
    if path.suffix in PICKLE_SUFFIXES:
        hint = (
            "It is a pickle, which can run any program when it is loaded; edgegen never opens "
            "one. Take a safetensors version of this model."
        )
    return SourceError(f"{path} is a file that holds no model that edgegen reads.", hint=hint)
