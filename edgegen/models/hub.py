"""Fetches pipelines from the Hugging Face Hub into its own cache, and finds them there again.

Which files, is `hub_files`. What is here already is not asked for again; where the network is
away, or HF_HUB_OFFLINE says so, the cache alone answers. HF_ENDPOINT, HF_HOME, HF_TOKEN and the
rest of huggingface_hub's variables mean what they mean there; telemetry is off.

Weights are fetched into the cache's `blobs` by `hub_transfer`, which goes on where a killed run
stopped: huggingface_hub 2 starts a file again. hf_hub_download then finds them, and links them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgegen.core.errors import SourceError, nearest
from edgegen.core.progress import Progress
from edgegen.core.scratch import ScratchFolder
from edgegen.models.hub_errors import (
    Unreachable,
    explain,
    hub_error_types,
    translate_hub_errors,
    translated,
)
from edgegen.models.hub_files import choose_files, is_weight_file
from edgegen.models.index import INDEX_NAME
from edgegen.models.model_folder import ModelFolder
from edgegen.models.read import read_pipeline
from edgegen.models.weight_files import is_checkpoint_name

if TYPE_CHECKING:
    from types import ModuleType

_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """A repository at one commit: the files that edgegen needs, name → bytes.

    `subfolder` is where the pipeline is in it, with a slash at its end, or nothing.
    """

    repository: str
    commit: str
    sizes: Mapping[str, int]
    subfolder: str = ""


def download(
    repository: str,
    revision: str | None,
    subfolder: str = "",
    *,
    variant: str | None,
    offline: bool,
    progress: Progress,
) -> tuple[Path, str]:
    """Return the folder of a repository's pipeline, complete, and its commit.

    It is the repository itself, or a `subfolder` of it. Of the weights those of `variant` are
    fetched, or the plain ones.

    Raises SourceError where the hub cannot be reached and the cache does not have it, where the
    repository or the revision does not exist or may not be read, and where it is no pipeline that
    edgegen can read; ResourceError where the disk cannot hold it.
    """
    listing = _list(repository, revision, variant, subfolder, offline=offline)
    if isinstance(listing, Unreachable):
        return _cached(repository, revision, variant, subfolder, listing)
    snapshot = _fetch_small(listing, revision, progress)
    missing = {
        name: size
        for name, size in listing.sizes.items()
        if is_weight_file(name) and not (snapshot / name).exists()
    }
    _fetch_large(repository, revision, listing.commit, missing, progress)
    return snapshot / listing.subfolder, listing.commit


def download_file(
    repository: str, revision: str | None, name: str, *, offline: bool, progress: Progress
) -> tuple[Path, str]:
    """Return a checkpoint of a repository, and its commit. Raises what `download` does."""
    listing = _list_file(repository, revision, name, offline=offline)
    if isinstance(listing, Unreachable):
        return _cached_file(repository, revision, name, listing)
    hub = _hub()
    if not isinstance(hub.try_to_load_from_cache(repository, name, revision=listing.commit), str):
        _fetch_large(repository, revision, listing.commit, listing.sizes, progress)
    with translate_hub_errors(repository, revision):
        # By the name that the user gave, so that the cache learns it, then by the commit.
        hub.hf_hub_download(repository, name, revision=revision)
        path = hub.hf_hub_download(repository, name, revision=listing.commit)
    return Path(path), listing.commit


def only_weight_file(
    repository: str, revision: str | None, known: Sequence[str], *, offline: bool
) -> str:
    """Return the name of a repository's weights by themselves, an adapter's: the first of `known`.

    Else it is the only safetensors file that lies at the top. Raises SourceError where there are
    several or none, and what `download` does.
    """
    listing = _list_all(repository, revision, offline=offline)
    if isinstance(listing, Unreachable):
        find = _hub().try_to_load_from_cache
        for name in known:
            if isinstance(find(repository, name, revision=revision), str):
                return name
        raise _not_cached(repository, listing)
    names = sorted(it for it in listing.sizes if "/" not in it and is_weight_file(it))
    found = next((name for name in known if name in names), names[0] if len(names) == 1 else None)
    if found is None:
        shown = ", ".join(names[:4]) or "no safetensors file at its top"
        raise SourceError(
            f"{repository} has {shown}{', …' if len(names) > 4 else ''}: which is the adapter?"
            if names
            else f"{repository} has {shown}.",
            hint=f"Name the file: {repository}:{names[0] if names else 'FILE.safetensors'}",
        )
    return found


@contextmanager
def fetch_file_header(
    repository: str, revision: str | None, name: str, *, offline: bool, progress: Progress
) -> Iterator[tuple[Path, str]]:
    """Yield a checkpoint to read the header of, and its commit: a sparse file unless it is here.

    Raises what `download` does.
    """
    listing = _list_file(repository, revision, name, offline=offline)
    if isinstance(listing, Unreachable):
        yield _cached_file(repository, revision, name, listing)
        return
    here = _hub().try_to_load_from_cache(repository, name, revision=listing.commit)
    if isinstance(here, str):
        yield Path(here), listing.commit
        return
    from edgegen.models.hub_transfer import fetch_header

    with ScratchFolder("inspect") as temporary:
        path = temporary / Path(name).name
        with translate_hub_errors(repository, revision), path.open("wb") as file:
            file.write(fetch_header(repository, listing.commit, name, listing.sizes[name]))
            file.truncate(listing.sizes[name])
        yield path, listing.commit


def _fetch_large(
    repository: str,
    revision: str | None,
    commit: str,
    sizes: Mapping[str, int],
    progress: Progress,
) -> None:
    """Fetch weights into the cache, and have them linked there."""
    if not sizes:
        return
    from edgegen.models.hub_transfer import fetch_blobs

    hub = _hub()
    with translate_hub_errors(repository, revision):
        name = f"models--{repository.replace('/', '--')}"
        blobs = Path(hub.constants.HF_HUB_CACHE) / name / "blobs"
        fetch_blobs(repository, commit, blobs, sizes, progress)
        for file in sizes:
            hub.hf_hub_download(repository, file, revision=commit)


@contextmanager
def fetch_headers(
    repository: str,
    revision: str | None,
    subfolder: str = "",
    *,
    variant: str | None,
    offline: bool,
    progress: Progress,
) -> Iterator[tuple[Path, str]]:
    """Yield a folder to read configurations and headers from, and the commit.

    It is the cache's where that is complete. Else it is a temporary one, with sparse files in the
    place of weights: real headers, and nothing behind them. Raises SourceError as `download` does.
    """
    listing = _list(repository, revision, variant, subfolder, offline=offline)
    if isinstance(listing, Unreachable):
        yield _cached(repository, revision, variant, subfolder, listing)
        return
    folder = _fetch_small(listing, revision, progress)
    if all((folder / name).exists() for name in listing.sizes):
        yield folder / listing.subfolder, listing.commit
        return
    from edgegen.models.hub_transfer import fetch_header

    with ScratchFolder("inspect") as temporary:
        for name, size in listing.sizes.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if (folder / name).exists():
                path.symlink_to((folder / name).resolve())
                continue
            with translate_hub_errors(repository, revision), path.open("wb") as file:
                file.write(fetch_header(repository, listing.commit, name, size))
                file.truncate(size)
        yield temporary / listing.subfolder, listing.commit


def _list(
    repository: str, revision: str | None, variant: str | None, subfolder: str, *, offline: bool
) -> _Listing | Unreachable:
    found = _list_all(repository, revision, offline=offline)
    if isinstance(found, Unreachable):
        return found
    prefix = f"{subfolder}/" if subfolder else ""
    sizes = {
        name.removeprefix(prefix): size
        for name, size in found.sizes.items()
        if name.startswith(prefix)
    }
    at = f"{repository}:{subfolder}" if subfolder else repository
    chosen = choose_files(sizes, variant, repository=at)
    return replace(found, sizes={prefix + name: sizes[name] for name in chosen}, subfolder=prefix)


def _list_file(
    repository: str, revision: str | None, name: str, *, offline: bool
) -> _Listing | Unreachable:
    """Return a listing with one file. Raises SourceError where it isn't there."""
    found = _list_all(repository, revision, offline=offline)
    if isinstance(found, Unreachable):
        return found
    if name not in found.sizes:
        there = [it for it in found.sizes if is_checkpoint_name(it)]
        raise SourceError(
            f"{repository} has no file {name}.",
            hint=nearest(name, there) if there else "It has no checkpoint in one file.",
        )
    return replace(found, sizes={name: found.sizes[name]})


def _list_all(repository: str, revision: str | None, *, offline: bool) -> _Listing | Unreachable:
    hub = _hub()
    if offline or hub.constants.HF_HUB_OFFLINE:
        return Unreachable(why="edgegen was told to stay offline")
    try:
        info = hub.HfApi().model_info(
            repository, revision=revision, files_metadata=True, timeout=_TIMEOUT_S
        )
    except hub_error_types() as error:
        unreachable = explain(error)
        if unreachable is not None:
            return unreachable
        raise translated(error, repository, revision) from error
    except (ValueError, KeyError):  # the page of a hotel's network, say
        return Unreachable(why=f"{hub.constants.ENDPOINT} does not answer as a hub does")
    if info.sha is None:
        raise SourceError(f"The hub gives no commit of {repository}.", hint="Try again later.")
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    return _Listing(repository=repository, commit=info.sha, sizes=sizes)


def _fetch_small(listing: _Listing, revision: str | None, progress: Progress) -> Path:
    """Fetch everything but weights; return the snapshot's folder in the cache."""
    index_name = listing.subfolder + INDEX_NAME
    names = [name for name in listing.sizes if not is_weight_file(name) and name != index_name]
    hub = _hub()
    with (
        translate_hub_errors(listing.repository, revision),
        progress.step(f"configuration of {listing.repository}", total=len(names) + 1) as step,
    ):
        # The first is asked for by the name that the user gave, so that the cache learns it.
        hub.hf_hub_download(listing.repository, index_name, revision=revision)
        step.advance()
        for name in names:
            hub.hf_hub_download(listing.repository, name, revision=listing.commit)
            step.advance()
        index = hub.hf_hub_download(listing.repository, index_name, revision=listing.commit)
    return Path(index).parents[listing.subfolder.count("/")]


def _cached(
    repository: str, revision: str | None, variant: str | None, subfolder: str, why: Unreachable
) -> tuple[Path, str]:
    """Return the cache's copy, if it is whole. Raises SourceError."""
    prefix = f"{subfolder}/" if subfolder else ""
    index = _hub().try_to_load_from_cache(repository, prefix + INDEX_NAME, revision=revision)
    at = f"{repository}@{revision}" if revision else repository
    if not isinstance(index, str):
        raise _not_cached(at, why)
    folder = Path(index).parent
    try:
        read_pipeline(ModelFolder(path=folder, source=at, variant=variant))
    except SourceError as error:
        raise SourceError(
            f"The cache's copy of {at} cannot be used, and {why.why}: {error}",
            hint=f"{why.remedy} What is there is kept, and fetching goes on from it.",
        ) from error
    return folder, Path(index).parents[prefix.count("/")].name


def _cached_file(
    repository: str, revision: str | None, name: str, why: Unreachable
) -> tuple[Path, str]:
    """Return the cache's copy of a checkpoint. Raises SourceError."""
    path = _hub().try_to_load_from_cache(repository, name, revision=revision)
    if not isinstance(path, str):
        raise _not_cached(f"{repository}:{name}", why)
    return Path(path), Path(path).parents[name.count("/")].name


def _not_cached(at: str, why: Unreachable) -> SourceError:
    return SourceError(
        f"There is no folder {at}, {why.why}, and the cache does not have it.",
        hint=f"{why.remedy} Or give a folder of this machine, or builtin:emoji.",
    )


def _hub() -> ModuleType:
    """Import huggingface_hub, quiet and without telemetry."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # hub_transfer speaks plain HTTP
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import huggingface_hub
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # huggingface_hub's own
    return huggingface_hub
