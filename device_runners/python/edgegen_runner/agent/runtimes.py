"""The Python with numpy and a runtime that runs the runner: what is here, and how it gets here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Optional

from ..runtimes import RUNTIMES, Runtime
from .children import run
from .failure import AgentFailure
from .paths import Folders, checked_name

PACKAGES: dict[str, Optional[Runtime]] = {
    "numpy": None,
    **{
        package: runtime
        for runtime in RUNTIMES
        if runtime.can_be_here
        for package in runtime.packages
    },
}
"""The distributions that are looked for, and the runtime that each brings."""

_USES_NUMPY = "import numpy; numpy.ones((8, 8)) @ numpy.ones((8, 8))"

_ASK = (
    "import json, platform\n"
    "from importlib import metadata\n"
    "def version(name):\n"
    "    try:\n"
    "        return metadata.version(name)\n"
    "    except metadata.PackageNotFoundError:\n"
    "        return None\n"
    f"found = {{name: version(name) for name in {tuple(PACKAGES)!r}}}\n"
    "packages = {name: found[name] for name in found if found[name]}\n"
    "print(json.dumps({'python': platform.python_version(), 'packages': packages}))\n"
)
_LAUNCHER = '#!/bin/sh\nexec "${0%/*}/bin/python" "$@"\n'
_ASK_TIMEOUT_S = 60
_SAID_BYTES = 4000
_SETUP_TIMEOUT_S = 1800


def runtime_here(folders: Folders, *, tried: bool = False) -> Optional[dict[str, Any]]:
    """Return the command that starts Python for the runner, and what that Python has.

    The runtime that `setup` made comes first, then this very Python. None where neither has numpy
    and a runtime. With ``tried`` each is used once, and ``faults`` says what went wrong.
    """
    for command in (_launched(folders.runtime), _this_python()):
        own = command[0] == "sh"
        if own and not Path(command[1]).is_file():
            continue
        found = _ask(command, folders.root)
        if found is not None and "numpy" in found["packages"] and len(found["packages"]) > 1:
            faults = _try(command, found["packages"], folders.root) if tried else []
            bundle = own and (folders.runtime / "bundle.json").is_file()
            return {"command": command, **found, "own": own, "bundle": bundle, "faults": faults}
    return None


def set_up(folders: Folders, request: dict[str, Any]) -> dict[str, Any]:
    """Make a virtual environment of wheels that are blobs here, and let ``runtime`` point to it.

    It is made beside its place, tried, and only then used: where there are ``faults``, what was
    used before stays. Nothing outside of the agent's folder is touched, and nothing is downloaded
    here.
    """
    name = checked_name(str(request["name"]))
    place = folders.runtimes / name
    there = (place / "python").is_file()
    faults = _faults_of(place, folders) if there else []
    if not there or faults:  # one that has gone bad is made again
        _make_environment(folders, place, list(request["wheels"]))
        faults = _faults_of(place, folders)
    if not faults:
        use_runtime(folders, name)
    return {"faults": faults}


def _faults_of(place: Path, folders: Folders) -> list[dict[str, Any]]:
    command = _launched(place)
    found = _ask(command, folders.root)
    return _try(command, PACKAGES if found is None else found["packages"], folders.root)


def _launched(place: Path) -> list[str]:
    """Return the command of an environment's Python: what it has installed, and nothing else.

    A bundle's launcher leads its Python to its own folders by PYTHONHOME and PYTHONPATH, whatever
    these were: isolated by -I it would find neither numpy nor a runtime.
    """
    isolated = [] if (place / "bundle.json").is_file() else ["-I"]
    return ["sh", str(place / "python"), *isolated, "-X", "utf8"]


def _this_python() -> list[str]:
    """Return the command of this Python; as isolated as it is, but for what its user installed."""
    isolated = ["-E", "-B", "-X", "utf8"] if sys.flags.ignore_environment else []
    return [sys.executable, *isolated]


def _try(command: list[str], packages: Iterable[str], folder: Path) -> list[dict[str, Any]]:
    """Use each package's module once; return those that fail, with how they ended and their words.

    Importing isn't enough: one that was built for another numpy is imported, and crashes later.
    Where numpy fails, the others would only say the same.
    """
    faults: list[dict[str, Any]] = []
    for package in packages:
        runtime = PACKAGES[package]
        code = _USES_NUMPY if runtime is None else runtime.trial or f"import {runtime.module}"
        try:
            run([*command, "-c", code], timeout_s=_ASK_TIMEOUT_S, folder=folder)
            continue
        except subprocess.CalledProcessError as error:
            returncode, told = error.returncode, error.stderr or error.stdout
        except subprocess.TimeoutExpired:
            returncode, told = None, f"It did not end within {_ASK_TIMEOUT_S} s.".encode()
        said = told[-_SAID_BYTES:].decode("utf-8", "replace").strip()
        faults.append({"package": package, "returncode": returncode, "said": said})
        if package == "numpy":
            break
    return faults


def use_runtime(folders: Folders, name: str) -> None:
    """Let ``runtime`` point to another environment, in one step."""
    temporary = folders.root / ".runtime.new"
    if os.path.lexists(temporary):
        temporary.unlink()
    temporary.symlink_to(Path("runtimes", name))
    temporary.replace(folders.runtime)


def _make_environment(folders: Folders, place: Path, wheels: list[Any]) -> None:
    shutil.rmtree(place, ignore_errors=True)
    links = folders.runtimes / f".{place.name}.wheels"
    shutil.rmtree(links, ignore_errors=True)
    links.mkdir(parents=True)
    try:
        files = []
        for file_name, sha256 in wheels:
            wheel = links / checked_name(str(file_name).replace("+", "_"))
            wheel.symlink_to(folders.blob(str(sha256)))
            files.append(str(wheel))
        isolated = [sys.executable, "-I", "-B", "-m"]
        _call([*isolated, "venv", "--without-pip", str(place)], folders.root)
        _install(place, files)
        launcher = place / "python.new"
        launcher.write_text(_LAUNCHER, encoding="ascii")
        launcher.chmod(0o755)
        launcher.replace(place / "python")  # its being there says that the rest is
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(links, ignore_errors=True)


def _install(place: Path, wheels: list[str]) -> None:
    """Unpack wheels as the wheel format says: its root, and what ``.data/purelib`` has, go to
    site-packages. Neither pip nor a compiler is needed; scripts are left out, the runner has none.
    """
    import zipfile

    code = "import sysconfig; print(sysconfig.get_path('platlib'))"
    python = str(place / "bin/python")
    answer = run([python, "-I", "-c", code], timeout_s=_ASK_TIMEOUT_S, folder=place)
    packages = Path(os.fsdecode(answer.stdout.strip()))
    packages.mkdir(parents=True, exist_ok=True)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for info in archive.infolist():
                parts = Path(info.filename).parts
                if info.is_dir() or not parts or ".." in parts or info.filename.startswith("/"):
                    continue
                if parts[0].endswith(".data"):
                    if len(parts) < 3 or parts[1] not in ("purelib", "platlib"):
                        continue
                    parts = parts[2:]
                target = packages.joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)


def _ask(command: list[str], folder: Path) -> Optional[dict[str, Any]]:
    try:
        done = run([*command, "-c", _ASK], timeout_s=_ASK_TIMEOUT_S, folder=folder)
        found = json.loads(done.stdout.decode("utf-8"))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("packages"), dict) else None


def _call(arguments: list[str], folder: Path) -> None:
    try:
        run(arguments, timeout_s=_SETUP_TIMEOUT_S, folder=folder)
    except subprocess.CalledProcessError as error:
        told = (error.stderr or error.stdout).decode("utf-8", "replace").strip()
        last = told.splitlines()[-1] if told else f"exit code {error.returncode}"
        raise AgentFailure("failed", f"{' '.join(arguments)} failed: {last}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise AgentFailure("failed", f"{arguments[0]} failed: {error}") from error
