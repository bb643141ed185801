"""Where the peers are: environments of their own, since they want other versions than edgegen.

    python benchmarks/peer_environments.py [NAME…]     makes those that are missing (`make peers`)

Every version is pinned, in `benchmarks/peers/` and `tests/peers/constraints.txt`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
_INSTALL_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerEnvironment:
    """An environment: `variable` names its interpreter where it is not in `folder`."""

    variable: str
    folder: str
    pins: str
    toolkits: tuple[str, ...]
    """What a report tells the versions of."""

    @property
    def python(self) -> Path | None:
        """Return its interpreter; None where there is none."""
        named = os.environ.get(self.variable)
        python = Path(named).absolute() if named else ROOT / self.folder / "bin" / "python"
        return python if python.is_file() else None

    @property
    def how_to_make(self) -> str:
        """Return what is missing and how it is made."""
        name = next(name for name, peer in PEERS.items() if peer is self)
        return (
            f"There is no interpreter of the peer: {self.folder}/bin/python is missing, and "
            f"${self.variable} does not name another.\nMake it with\n"
            f"    make peers PEERS={name}"
        )

    def make(self) -> None:
        """Install it where it is missing. Raises ProcessError where pip fails."""
        from edgegen.core.process import run

        if self.python is not None:
            return
        folder = ROOT / self.folder
        run([sys.executable, "-m", "venv", str(folder)], timeout_s=600)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        pins = ROOT / self.pins
        if "torch==" in pins.read_text(encoding="utf-8"):  # by itself, as the Makefile does
            run([*pip, "--constraint", str(pins), "torch"], timeout_s=_INSTALL_S)
        run([*pip, "--requirement", str(pins)], timeout_s=_INSTALL_S)
        self._drop_broken("torchvision")

    def _drop_broken(self, package: str) -> None:
        """Uninstall what a toolkit asks for and can't be imported: it takes transformers along.

        torchvision is built for one build of torch, and pip takes that of the index.
        """
        from edgegen.core.process import ProcessError, run

        python = str(self.python)
        try:
            run([python, "-c", f"import {package}"], timeout_s=600)
        except ProcessError:
            run([python, "-m", "pip", "uninstall", "--yes", "--quiet", package], timeout_s=600)


PEERS: Mapping[str, PeerEnvironment] = {
    "coreml": PeerEnvironment(
        variable="EDGEGEN_COREML_PEER_PYTHON",
        folder=".venv-coreml-peer",
        pins="benchmarks/peers/coreml.txt",
        toolkits=("coremltools", "diffusers", "transformers", "torch", "numpy", "scikit-learn"),
    ),
    "openvino": PeerEnvironment(
        variable="EDGEGEN_OPENVINO_PEER_PYTHON",
        folder=".venv-openvino-peer",
        pins="benchmarks/peers/openvino.txt",
        toolkits=("optimum-intel", "openvino", "nncf", "diffusers", "transformers", "torch"),
    ),
    "litert": PeerEnvironment(
        variable="EDGEGEN_LITERT_PEER_PYTHON",
        folder=".venv-litert-peer",
        pins="benchmarks/peers/litert.txt",
        toolkits=(
            "litert-torch",
            "ai-edge-quantizer",
            "ai-edge-litert",
            "diffusers",
            "transformers",
            "torch",
        ),
    ),
    "optimum": PeerEnvironment(
        variable="EDGEGEN_PEERS_PYTHON",
        folder=".venv-peers",
        pins="tests/peers/constraints.txt",
        toolkits=("optimum-onnx", "onnxruntime", "diffusers", "transformers", "torch"),
    ),
    "sdcpp": PeerEnvironment(
        variable="EDGEGEN_SDCPP_PEER_PYTHON",
        folder=".venv-sdcpp-peer",
        pins="benchmarks/peers/sdcpp.txt",
        toolkits=("stable-diffusion-cpp-python",),
    ),
}


def main(names: Sequence[str]) -> int:
    for name in names or tuple(PEERS):
        print(f"{name}: {PEERS[name].folder}", file=sys.stderr, flush=True)
        PEERS[name].make()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
