"""Compiles Python's standard library, and the packages beside it, for the bundle's Python.

The library lies in one zip of compiled modules, stored: one file to push instead of 600, and the
zip's own modules need no decompression and no compiler at each start. Bytecode belongs to one
minor version of Python, so a Python of the bundle's version compiles it on this machine.
"""

from __future__ import annotations

import shutil
import sys
import zipfile
from fnmatch import fnmatchcase
from pathlib import Path

from edgegen.core.errors import MissingDependencyError
from edgegen.core.process import ProcessError, run

_TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can hold
_MODE = 0o100644 << 16
_COMPILE_S = 600.0
_VERSION = "import sys; print('%d.%d %s' % (*sys.version_info[:2], sys.version.split()[0]))"


def find_compiler(version: str) -> tuple[str, str]:
    """Return the path of a Python of a minor version (`3.11`), and its full version (`3.11.7`).

    Raises MissingDependencyError where this machine has none.
    """
    for path in (sys.executable, shutil.which(f"python{version}")):
        if not path:
            continue
        try:
            minor, full = run((path, "-I", "-c", _VERSION), timeout_s=60).text.split()
        except (ProcessError, ValueError):
            continue  # a shim that leads nowhere (pyenv), say
        if minor == version:
            return path, full
    raise MissingDependencyError(
        f"Python {version} is not on this machine; it compiles the bundle's library.",
        hint=f"Install python{version} (Debian 12 has it; elsewhere: uv python install {version}), "
        "or build the bundle where it is, and pass the file along.",
    )


def compile_modules(python: str, folder: Path, shown: str, *, beside: bool) -> None:
    """Compile all modules below `folder` to bytecode that is never compared with a source.

    `shown` is the folder that tracebacks name. With `beside` a module's bytecode lies beside it,
    as a zip wants it, else in `__pycache__`. The same sources and Python give the same bytes.
    """
    arguments = [python, "-I", "-m", "compileall", "-q", *(["-b"] if beside else [])]
    arguments += ["--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", shown]
    run((*arguments, str(folder)), timeout_s=_COMPILE_S, env={"PYTHONHASHSEED": "0"})


def take(source: Path, destination: Path, left_out: tuple[str, ...]) -> None:
    """Copy a folder's files but those that match a pattern; links are followed, modes are plain."""
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if any(fnmatchcase(name, pattern) for pattern in left_out) or not path.is_file():
            continue
        target = destination / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def zip_compiled(folder: Path, path: Path) -> None:
    """Write the compiled modules below `folder` to a zip file, stored, in the order of names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for module in sorted(folder.rglob("*.pyc")):
            entry = zipfile.ZipInfo(module.relative_to(folder).as_posix(), _TIMESTAMP)
            entry.external_attr = _MODE
            entry.create_system = 3  # Unix, whatever packs it
            archive.writestr(entry, module.read_bytes())
