"""The Python with numpy and a runtime that runs the runner: what is here, and how it gets here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

from .children import run
from .failure import AgentFailure
from .paths import Folders, checked_name

PACKAGES = (
    *("numpy", "onnxruntime", "onnxruntime-gpu"),
    *("openvino", "ai-edge-litert", "tflite-runtime"),
)
"""What is looked for; the host decides what is needed."""

_ASK = (
    "import json, platform\n"
    "from importlib import metadata\n"
    "def version(name):\n"
    "    try:\n"
    "        return metadata.version(name)\n"
    "    except metadata.PackageNotFoundError:\n"
    "        return None\n"
    f"found = {{name: version(name) for name in {PACKAGES!r}}}\n"
    "packages = {name: found[name] for name in found if found[name]}\n"
    "print(json.dumps({'python': platform.python_version(), 'packages': packages}))\n"
)
_LAUNCHER = '#!/bin/sh\nexec "${0%/*}/bin/python" "$@"\n'
_ASK_TIMEOUT_S = 60
_SETUP_TIMEOUT_S = 1800


def runtime_here(folders: Folders) -> Optional[dict[str, Any]]:
    """Return the command that starts Python for the runner, and what that Python has.

    The runtime that `setup` made comes first, then this very Python. None where neither has numpy
    and a runtime.
    """
    for command in (["sh", str(folders.runtime / "python")], [sys.executable]):
        if command[0] == "sh" and not Path(command[1]).is_file():
            continue
        found = _ask(command, folders.root)
        if found is not None and "numpy" in found["packages"] and len(found["packages"]) > 1:
            return {"command": command, **found, "own": command[0] == "sh"}
    return None


def set_up(folders: Folders, request: dict[str, Any]) -> dict[str, Any]:
    """Make a virtual environment of wheels that are blobs here, and let ``runtime`` point to it.

    It is made beside its place, tried, and only then used. Nothing outside of the agent's folder is
    touched, and nothing is downloaded here.
    """
    name = checked_name(str(request["name"]))
    place = folders.runtimes / name
    if not (place / "python").is_file():
        _make_environment(folders, place, list(request["wheels"]))
    modules = [checked_name(str(module)) for module in request["modules"]]
    _call(["sh", str(place / "python"), "-c", f"import {', '.join(modules)}"], place)
    use_runtime(folders, name)
    return {"runtime": runtime_here(folders)}


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
        _call([sys.executable, "-m", "venv", "--without-pip", str(place)], folders.root)
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
    answer = run([python, "-c", code], timeout_s=_ASK_TIMEOUT_S, folder=place)
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
        raise AgentFailure("failed", f"{' '.join(arguments[1:3])} failed: {last}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise AgentFailure("failed", f"{arguments[0]} failed: {error}") from error
