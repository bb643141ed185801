"""The environment of the peers' tools, apart from edgegen's own: they want other versions.

It is made on first use in `.venv-peers` under the repository root, which git ignores.
`$EDGEGEN_PEERS_PYTHON` names another interpreter that has them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from edgegen.core.process import run

VARIABLE = "EDGEGEN_PEERS_PYTHON"
CONSTRAINTS = Path(__file__).with_name("constraints.txt")
FOLDER = Path(__file__).parents[2] / ".venv-peers"
REQUIREMENTS = ("optimum-onnx[onnxruntime]", "diffusers", "transformers", "onnx", "scipy")
"""scipy is what diffusers' LMS scheduler integrates with."""

_INSTALL_S = 3600.0


def peers_python() -> Path:
    """Return the interpreter of the peers' environment, and install it where it is missing.

    An environment whose installation was interrupted, or whose constraints have changed since, is
    made anew. Raises ProcessError where pip fails.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named).absolute()
    python = FOLDER / "bin" / "python"
    stamp = FOLDER / ".installed"
    wanted = hashlib.sha256(CONSTRAINTS.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted:
        return python
    shutil.rmtree(FOLDER, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(FOLDER)], timeout_s=600)
    install = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(CONSTRAINTS)]
    run([*install, "torch"], timeout_s=_INSTALL_S)  # by itself, as the Makefile does
    run([*install, *REQUIREMENTS], timeout_s=_INSTALL_S)
    stamp.write_text(wanted, encoding="ascii")
    return python


def pinned(package: str) -> str:
    """Return the version that the constraints give a package."""
    for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("==")
        if name == package:
            return version
    raise LookupError(f"{CONSTRAINTS} does not pin {package}")
