"""Packs the runner into one file, `edgegen-runner.pyz`, that any Python runs."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import edgegen_runner

from edgegen.core.files import translate_disk_errors, write_atomic
from edgegen.core.folders import cache_folder

FILE_NAME = "edgegen-runner.pyz"

_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = b"from edgegen_runner.__main__ import end, main\nend(main())\n"
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can hold
_MODE = 0o100644 << 16


def pack_runner() -> bytes:
    """Return the packed runner; the same sources give the same bytes.

    The files are stored, not compressed, so that not even another zlib changes them.
    """
    package = Path(str(edgegen_runner.__file__)).parent
    sources = sorted(package.rglob("*.py"), key=lambda path: path.as_posix())
    buffer = io.BytesIO()
    buffer.write(_SHEBANG)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "__main__.py", _MAIN)
        for path in sources:
            _add(archive, path.relative_to(package.parent).as_posix(), path.read_bytes())
    return buffer.getvalue()


def packed_runner() -> Path:
    """Return the path of the packed runner in the cache, named by its hash; make it if needed.

    Raises ResourceError where the cache cannot be written.
    """
    data = pack_runner()
    folder = cache_folder() / "runner" / hashlib.sha256(data).hexdigest()[:16]
    path = folder / FILE_NAME
    if not path.is_file() or path.read_bytes() != data:
        with translate_disk_errors(folder, setting="EDGEGEN_CACHE_DIR"):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data, setting="EDGEGEN_CACHE_DIR")
    return path


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _TIMESTAMP)
    entry.external_attr = _MODE
    entry.create_system = 3  # Unix, whatever packs it
    archive.writestr(entry, data)
