"""What goes wrong between here and a hub, and what to do about it."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from edgegen.core.errors import EdgegenError, ResourceError, SourceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """The hub does not answer; the cache may."""

    why: str
    remedy: str = "Connect to the network and type the same command again."


def explain(error: BaseException) -> Unreachable | None:
    """Say why no hub answered; None where it did answer, though not with what was wanted."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    if isinstance(error, HFValidationError):
        return None
    if isinstance(error, OfflineModeIsEnabled):
        return Unreachable(
            why="edgegen was told to stay offline",
            remedy="Unset HF_HUB_OFFLINE and type the same command again.",
        )
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        return explain(error.__cause__)
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status < 500:
            return None
        return Unreachable(
            why=f"{constants.ENDPOINT} answers with an error of its own ({status})",
            remedy="Try again later.",
        )
    return Unreachable(why=f"{constants.ENDPOINT} cannot be reached ({_first_line(error)})")


def hub_error_types() -> tuple[type[Exception], ...]:
    """Return what huggingface_hub and its HTTP library raise when a request fails.

    The library is httpx2, httpx or requests, by huggingface_hub's age; its base class is the one
    that HfHubHTTPError is derived from.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    return (cast("type[Exception]", HfHubHTTPError.__mro__[1]), OSError, HFValidationError)


@contextmanager
def translate_hub_errors(repository: str, revision: str | None) -> Iterator[None]:
    """Turn what huggingface_hub and its HTTP library raise into SourceError or ResourceError."""
    try:
        yield
    except hub_error_types() as error:
        raise translated(error, repository, revision) from error


def translated(error: BaseException, repository: str, revision: str | None) -> EdgegenError:
    """Return the error of ours that says what `error` means, and what to do about it."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, HFValidationError):
        return SourceError(
            f"'{repository}' is not the id of a model on the hub: {_first_line(error)}.",
            hint="Give ORG/NAME, or a folder that exists.",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(
            f"The disk that holds the hub's cache ({constants.HF_HUB_CACHE}) is full.",
            hint="Free some space, or set HF_HOME to a folder on another disk. What was fetched "
            "is kept.",
        )
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return ResourceError(
            f"The hub's cache ({constants.HF_HUB_CACHE}) cannot be written: {error.strerror}.",
            hint="Set HF_HOME to a folder that you may write.",
        )
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        return translated(error.__cause__, repository, revision)
    page = f"{constants.ENDPOINT}/{repository}"
    log_in = "log in with `hf auth login`, or set HF_TOKEN to a token that may read it"
    if isinstance(error, GatedRepoError):
        return SourceError(
            f"{repository} is gated: its owner shares it with those who accept its conditions.",
            hint=f"Accept them at {page}, then {log_in}, and type the same command again.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return SourceError(
            f"There is no folder {repository}, and the hub shows no model of that name.",
            hint=f"{_similar(repository)}Check the spelling. If it is private or gated, {log_in}.",
        )
    if isinstance(error, RevisionNotFoundError):
        return SourceError(
            f"{repository} has no revision '{revision}'.",
            hint=f"Take a branch, tag or commit of {page}/tree/main, or leave it out.",
        )
    if isinstance(error, EntryNotFoundError):
        return SourceError(
            f"{repository} changed while it was fetched: {_first_line(error)}.",
            hint="Type the same command again.",
        )
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
        return SourceError(
            f"The hub refuses {repository} ({error.response.status_code}).",
            hint=f"See {page} whether it asks for anything, then {log_in}.",
        )
    if isinstance(error, HfHubHTTPError) and error.response.status_code == 429:
        return SourceError(
            f"The hub has had too many requests from here; it refuses {repository} for now.",
            hint=f"Wait some minutes, or {log_in}.",
        )
    if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
        return SourceError(
            f"The hub refuses {repository}: {_first_line(error)}.", hint=f"See {page}."
        )
    unreachable = explain(error)
    assert unreachable is not None
    return SourceError(
        f"{repository} could not be fetched: {unreachable.why}.",
        hint=f"{unreachable.remedy} What was fetched is kept, and fetching goes on from it.",
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].removesuffix(".")


def models_in_cache() -> list[str]:
    """Return the ids of the models that the hub's cache has something of."""
    from huggingface_hub import constants

    folders = sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*"))
    return [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]


def _similar(repository: str) -> str:
    """Name the model in the cache that is spelled most like `repository`."""
    known = [name for name in models_in_cache() if name != repository]
    close = difflib.get_close_matches(repository, known, n=1, cutoff=0.8)
    return f"Did you mean '{close[0]}'? " if close else ""
