"""Where the peers of Core ML, OpenVINO and LiteRT are: environments of their own, made by hand.

They want other versions than edgegen. Every version is pinned in `benchmarks/peers/`; the messages
of `python_of` say how an environment is made of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


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
        return (
            f"There is no interpreter of the peer: {self.folder}/bin/python is missing, and "
            f"${self.variable} does not name another.\nMake it with\n"
            f"    python3 -m venv {self.folder}\n"
            f"    {self.folder}/bin/pip install --requirement {self.pins}"
        )


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
}
