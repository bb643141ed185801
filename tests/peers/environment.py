"""The environments of the peers' tools, apart from edgegen's own: they want other versions.

Each is made on first use under the repository root, in a folder that git ignores. A variable of the
environment names another interpreter that has them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.process import run

ROOT = Path(__file__).parents[2]
_INSTALL_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Distributions of pinned versions, in a virtual environment of their own."""

    variable: str
    folder: Path
    constraints: Path
    requirements: tuple[str, ...]

    def python(self) -> Path:
        """Return the interpreter, and install the environment where it is missing.

        One whose installation was interrupted, or whose constraints have changed since, is made
        again. Raises ProcessError where pip fails.
        """
        if named := os.environ.get(self.variable):
            return Path(named).absolute()
        python = self.folder / "bin" / "python"
        stamp = self.folder / ".installed"
        wanted = hashlib.sha256(self.constraints.read_bytes()).hexdigest()
        if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted:
            return python
        shutil.rmtree(self.folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(self.folder)], timeout_s=600)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        install = [*pip, "--constraint", str(self.constraints)]
        run([*install, "torch"], timeout_s=_INSTALL_S)  # by itself, as the Makefile does
        run([*install, *self.requirements], timeout_s=_INSTALL_S)
        stamp.write_text(wanted, encoding="ascii")
        return python

    def pinned(self, package: str) -> str:
        """Return the version that the constraints give a package."""
        for line in self.constraints.read_text(encoding="utf-8").splitlines():
            name, _, version = line.partition("==")
            if name == package:
                return version
        raise LookupError(f"{self.constraints} does not pin {package}")


OPTIMUM_ONNX = Environment(
    variable="EDGEGEN_PEERS_PYTHON",
    folder=ROOT / ".venv-peers",
    constraints=Path(__file__).with_name("constraints.txt"),
    requirements=("optimum-onnx[onnxruntime]", "diffusers", "transformers", "onnx", "scipy"),
)
"""scipy is what diffusers' LMS scheduler integrates with."""

OPTIMUM_INTEL = Environment(
    variable="EDGEGEN_OPTIMUM_INTEL_PYTHON",
    folder=ROOT / ".venv-optimum-intel",
    constraints=Path(__file__).with_name("constraints-optimum-intel.txt"),
    requirements=("optimum-intel[openvino]", "diffusers", "scipy"),
)
