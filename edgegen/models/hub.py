"""Fetches pipelines from the Hugging Face Hub into its own cache, and finds them there again.

Which files, is `hub_files`. What is here already is not asked for again; where the network is
away, or HF_HUB_OFFLINE says so, the cache alone answers. HF_ENDPOINT, HF_HOME, HF_TOKEN and the
rest of huggingface_hub's variables mean what they mean there; telemetry is off.

Weights are fetched into the cache's `blobs` by `hub_transfer`, which goes on where a killed run
stopped: huggingface_hub 2 starts a file again. hf_hub_download then finds them, and links them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgegen.core.errors import SourceError
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

if TYPE_CHECKING:
    from types import ModuleType

_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """A repository at one commit: the files that edgegen needs, name → bytes."""

    repository: str
    commit: str
    sizes: Mapping[str, int]


def download(
    repository: str,
    revision: str | None,
    *,
    variant: str | None,
    offline: bool,
    progress: Progress,
) -> tuple[Path, str]:
    """Return the folder of a repository's pipeline, complete, and its commit.

    Of the weights those of `variant` are fetched, or the plain ones.

    Raises SourceError where the hub cannot be reached and the cache does not have it, where the
    repository or the revision does not exist or may not be read, and where it is no pipeline that
    edgegen can read; ResourceError where the disk cannot hold it.
    """
    listing = _list(repository, revision, variant, offline=offline)
    if isinstance(listing, Unreachable):
        return _cached(repository, revision, variant, listing)
    folder = _fetch_small(listing, revision, progress)
    missing = {
        name: size
        for name, size in listing.sizes.items()
        if is_weight_file(name) and not (folder / name).exists()
    }
    if missing:
        from edgegen.models.hub_transfer import fetch_blobs

        with translate_hub_errors(repository, revision):
            fetch_blobs(repository, listing.commit, folder.parents[1] / "blobs", missing, progress)
            for name in missing:
                _hub().hf_hub_download(repository, name, revision=listing.commit)
    return folder, listing.commit


@contextmanager
def fetch_headers(
    repository: str,
    revision: str | None,
    *,
    variant: str | None,
    offline: bool,
    progress: Progress,
) -> Iterator[tuple[Path, str]]:
    """Yield a folder to read configurations and headers from, and the commit.

    It is the cache's where that is complete. Else it is a temporary one, with sparse files in the
    place of weights: real headers, and nothing behind them. Raises SourceError as `download` does.
    """
    listing = _list(repository, revision, variant, offline=offline)
    if isinstance(listing, Unreachable):
        yield _cached(repository, revision, variant, listing)
        return
    folder = _fetch_small(listing, revision, progress)
    if all((folder / name).exists() for name in listing.sizes):
        yield folder, listing.commit
        return
    from edgegen.models.hub_transfer import fetch_header

    with ScratchFolder("inspect") as temporary:
        for name, size in listing.sizes.items():
            path = temporary / name
            path.parent.mkdir(exist_ok=True)
            if (folder / name).exists():
                path.symlink_to((folder / name).resolve())
                continue
            with translate_hub_errors(repository, revision), path.open("wb") as file:
                file.write(fetch_header(repository, listing.commit, name, size))
                file.truncate(size)
        yield temporary, listing.commit


def _list(
    repository: str, revision: str | None, variant: str | None, *, offline: bool
) -> _Listing | Unreachable:
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
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    if info.sha is None:
        raise SourceError(f"The hub gives no commit of {repository}.", hint="Try again later.")
    chosen = choose_files(sizes, variant, repository=repository)
    return _Listing(
        repository=repository, commit=info.sha, sizes={name: sizes[name] for name in chosen}
    )


def _fetch_small(listing: _Listing, revision: str | None, progress: Progress) -> Path:
    """Fetch everything but weights; return the snapshot's folder in the cache."""
    names = [name for name in listing.sizes if not is_weight_file(name) and name != INDEX_NAME]
    hub = _hub()
    with (
        translate_hub_errors(listing.repository, revision),
        progress.step(f"configuration of {listing.repository}", total=len(names) + 1) as step,
    ):
        # The first is asked for by the name that the user gave, so that the cache learns it.
        hub.hf_hub_download(listing.repository, INDEX_NAME, revision=revision)
        step.advance()
        for name in names:
            hub.hf_hub_download(listing.repository, name, revision=listing.commit)
            step.advance()
        index = hub.hf_hub_download(listing.repository, INDEX_NAME, revision=listing.commit)
    return Path(index).parent


def _cached(
    repository: str, revision: str | None, variant: str | None, why: Unreachable
) -> tuple[Path, str]:
    """Return the cache's copy, if it is whole. Raises SourceError."""

    index = _hub().try_to_load_from_cache(repository, INDEX_NAME, revision=revision)
    at = f"{repository}@{revision}" if revision else repository
    if not isinstance(index, str):
        raise SourceError(
            f"There is no folder {at}, {why.why}, and the cache does not have it.",
            hint=f"{why.remedy} Or give a folder of this machine, or builtin:emoji.",
        )
    folder = Path(index).parent
    try:
        read_pipeline(ModelFolder(path=folder, source=at, variant=variant))
    except SourceError as error:
        raise SourceError(
            f"The cache's copy of {at} cannot be used, and {why.why}: {error}",
            hint=f"{why.remedy} What is there is kept, and fetching goes on from it.",
        ) from error
    return folder, folder.name


def _hub() -> ModuleType:
    """Import huggingface_hub, quiet and without telemetry."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # hub_transfer speaks plain HTTP
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import huggingface_hub
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # huggingface_hub's own
    return huggingface_hub
