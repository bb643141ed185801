"""An environment with tflite_runtime, which wants an older numpy than edgegen's own.

It is made on first use in `.venv-tflite-runtime` under the repository root, by a Python 3.11 (the
last one that PyPI has a wheel for). `$EDGEGEN_TFLITE_RUNTIME_PYTHON` names another interpreter.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from edgegen.core.process import run

VARIABLE = "EDGEGEN_TFLITE_RUNTIME_PYTHON"
FOLDER = Path(__file__).parents[2] / ".venv-tflite-runtime"
REQUIREMENTS = ("tflite-runtime==2.14.0", "numpy==1.26.4")

_INSTALL_S = 600.0


def tflite_runtime_python() -> Path:
    """Return the interpreter, and install the environment where it is missing.

    Raises ProcessError where pip fails.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named).absolute()
    python, stamp = FOLDER / "bin" / "python", FOLDER / ".installed"
    if stamp.is_file() and stamp.read_text(encoding="ascii") == " ".join(REQUIREMENTS):
        return python
    shutil.rmtree(FOLDER, ignore_errors=True)
    base = shutil.which("python3.11") or sys.executable
    run([base, "-m", "venv", str(FOLDER)], timeout_s=_INSTALL_S)
    run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS], timeout_s=_INSTALL_S)
    stamp.write_text(" ".join(REQUIREMENTS), encoding="ascii")
    return python
