"""The runtimes that the runner can use, and what it asks of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Optional, Protocol

import numpy.typing as npt

from ..errors import RunnerFailure, nearest
from ..package import Component

Array = npt.NDArray[Any]

BACKENDS: dict[str, str] = {
    "onnxruntime": "edgegen_runner.backends.onnxruntime:OnnxRuntimeBackend",
}
"""Name -> module and class."""


@dataclass(frozen=True)
class BackendOptions:
    """How a runtime is to be used.

    ``providers`` are tried in order; None means the processor alone. ``memory`` is ``lean``
    (weights stay in the file's mapped pages, which the system can take back), ``fast`` (the
    runtime may copy and repack them) or ``auto`` (fast for small components, lean for others).
    """

    name: str = "onnxruntime"
    providers: tuple[str, ...] = ()
    threads: Optional[int] = None
    memory: str = "auto"


class Session(Protocol):
    """A component that is loaded."""

    @property
    def providers(self) -> tuple[str, ...]:
        """Return which of the runtime's processors it really uses, in order."""

    def run(
        self, inputs: Mapping[str, Array], outputs: Optional[Sequence[str]] = None
    ) -> dict[str, Array]:
        """Compute the named outputs (all, if none are named) from inputs of the declared types."""

    def close(self) -> None:
        """Give the memory back."""


class Backend(Protocol):
    """A runtime."""

    @property
    def name(self) -> str:
        """Return the runtime's name."""

    @property
    def version(self) -> str:
        """Return the runtime's version."""

    @property
    def available_providers(self) -> tuple[str, ...]:
        """Return the names of the processors that this build of the runtime can use."""

    def load(self, path: Path, component: Component) -> Session:
        """Load a component's file.

        Raises RunnerFailure: ``missing-provider`` where a wanted processor would not be used,
        ``memory`` or ``runtime`` where the runtime fails.
        """


def open_backend(options: BackendOptions) -> Backend:
    """Import a runtime and return it.

    Raises RunnerFailure: ``bad-request`` for an unknown name, ``missing-runtime`` where it is not
    installed.
    """
    if options.name not in BACKENDS:
        raise RunnerFailure(
            "bad-request", f"Unknown backend {options.name!r}.", nearest(options.name, BACKENDS)
        )
    module, _, attribute = BACKENDS[options.name].partition(":")
    try:
        backend: Backend = getattr(import_module(module), attribute)(options)
    except ImportError as error:
        raise RunnerFailure(
            "missing-runtime",
            f"{options.name} cannot be imported: {error}.",
            f"Install it for this Python: pip install {options.name}",
        ) from error
    return backend
