"""Carries large files from a hub, and goes on where a killed run stopped.

A file is written to `<etag>.edgegen-incomplete` in the cache's `blobs`, under a lock, checked,
and renamed to `<etag>`, where huggingface_hub expects it.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from edgegen.core.errors import ResourceError, SourceError
from edgegen.core.files import sha256_of
from edgegen.core.progress import Progress
from edgegen.core.units import format_bytes
from edgegen.models.safetensors import check_header_length

INCOMPLETE_SUFFIX = ".edgegen-incomplete"

_ETAG = re.compile(r"[0-9A-Za-z][\w-]{15,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIRST_BYTES = 1 << 20
"""Most headers are shorter: that of SDXL's UNet has 0.25 MB."""


def fetch_blobs(
    repository: str, commit: str, blobs: Path, sizes: Mapping[str, int], progress: Progress
) -> None:
    """Fetch files (name → bytes) into a cache's `blobs`.

    Raises SourceError for a file that arrives damaged, ResourceError where the disk is too small,
    and whatever huggingface_hub raises.
    """
    needed = sum(sizes.values())
    blobs.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(blobs).free
    kept = sum(path.stat().st_size for path in blobs.glob(f"*{INCOMPLETE_SUFFIX}"))
    if needed - kept > free:
        raise ResourceError(
            f"{repository} needs {format_bytes(needed - kept)} more in the hub's cache; "
            f"{format_bytes(free)} are free there.",
            hint="Free some space, or set HF_HOME to a folder on another disk.",
        )
    with progress.step(f"weights of {repository}", total=needed, unit="bytes") as step:
        for name in sizes:
            step.describe(name)
            _fetch_blob(repository, commit, name, blobs, step.advance)


def fetch_header(repository: str, commit: str, name: str, size: int) -> bytes:
    """Fetch a safetensors file's eight bytes of length and its header. Raises SourceError."""
    start = _fetch_range(repository, commit, name, 0, min(size, _FIRST_BYTES))
    length = int.from_bytes(start[:8], "little")
    check_header_length(Path(f"{repository}/{name}"), length, size)
    end = 8 + length
    if end > len(start):
        start += _fetch_range(repository, commit, name, len(start), end)
    return start[:end]


def _fetch_blob(
    repository: str, commit: str, name: str, blobs: Path, advance: Callable[[float], None]
) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented

    url = hf_hub_url(repository, name, revision=commit)
    metadata = get_hf_file_metadata(url)
    etag = metadata.etag or ""
    if _ETAG.fullmatch(etag) is None:
        raise SourceError(
            f"The hub gives no usable checksum of {repository}/{name}.",
            hint="Check HF_ENDPOINT: this does not look like a hub.",
        )
    blob, incomplete = blobs / etag, blobs / f"{etag}{INCOMPLETE_SUFFIX}"
    with incomplete.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # another run may be fetching the same file
        if not blob.exists():
            begin = os.fstat(file.fileno()).st_size
            if metadata.size is not None and begin > metadata.size:
                begin = 0
                file.truncate(0)
            advance(begin)
            http_get(
                url,
                _Counted(file, advance),  # type: ignore[arg-type]  # all that it uses of a file
                resume_size=begin,
                headers=build_hf_headers(),
                expected_size=metadata.size,
            )
            file.flush()
            if _SHA256.fullmatch(etag) and sha256_of(incomplete) != etag:
                incomplete.unlink()
                raise SourceError(
                    f"{repository}/{name} arrived damaged: its SHA-256 is not the hub's.",
                    hint="Type the same command again; the file is fetched anew.",
                )
            os.fsync(file.fileno())
            incomplete.rename(blob)
        else:
            advance(blob.stat().st_size)
    incomplete.unlink(missing_ok=True)


def _fetch_range(repository: str, commit: str, name: str, begin: int, end: int) -> bytes:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented

    sink = _Bounded(end - begin, f"{repository}/{name}")
    http_get(
        hf_hub_url(repository, name, revision=commit),
        sink,
        headers={**build_hf_headers(), "Range": f"bytes={begin}-{end - 1}"},
        expected_size=end - begin,
    )
    return sink.getvalue()


class _Counted:
    """A file that says how many bytes are written to it, and taken back from it."""

    def __init__(self, file: BinaryIO, advance: Callable[[float], None]) -> None:
        self._file, self._advance = file, advance
        self.tell, self.seek = file.tell, file.seek

    def write(self, data: bytes) -> int:
        self._advance(len(data))
        return self._file.write(data)

    def truncate(self) -> int:
        before = os.fstat(self._file.fileno()).st_size
        after = self._file.truncate()
        self._advance(after - before)
        return after


class _Bounded(io.BytesIO):
    """Bytes in memory, and no more of them than were asked for."""

    def __init__(self, limit: int, name: str) -> None:
        super().__init__()
        self._limit, self._name = limit, name

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > self._limit:
            raise SourceError(
                f"The hub sends all of {self._name} where its header was asked for.",
                hint="Check HF_ENDPOINT: edgegen needs a hub that answers range requests.",
            )
        return super().write(data)
