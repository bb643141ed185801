"""The runtimes that the runner can use, and what it asks of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Optional, Protocol, runtime_checkable

import numpy.typing as npt

from ..errors import RunnerFailure, nearest
from ..optimized import size_bytes
from ..package import Component
from ..runtimes import DEFAULT, RUNTIMES, Runtime, of_target
from ..sensors.control_groups import threads_within_quota

Array = npt.NDArray[Any]

SMALL_BYTES = 64 << 20
"""Components up to this size may be copied and repacked under ``auto``: that halved the time of a
step of the built-in model (28 MB), while at the size of Stable Diffusion 1.5 it gained nothing in
a spike with ONNX Runtime, before this code."""


@dataclass(frozen=True)
class BackendOptions:
    """How a runtime is to be used.

    ``providers`` are tried in order; none means the processor alone. ``threads`` None means as
    many as a CPU quota allows, or without one the runtime's own choice. ``memory`` is ``lean``
    (weights stay in the file's mapped pages, which the system can take back), ``fast`` (the
    runtime may copy and repack them) or ``auto`` (fast for small components, lean for others).
    OpenVINO and the TFLite runtimes always repack: ``lean`` takes back what they mapped for it, and
    LiteRT's packed weights are pages of a file. ``optimized`` is the folder where ONNX Runtime
    and OpenVINO keep small graphs as they have optimized them, and LiteRT the packed weights of
    large ones, and look for them; None keeps none.
    ``arithmetic`` is one of `ARITHMETICS`, None for the recipe's own. Of a package for several
    chips it loads the contexts of ``chip``, None for this machine's own.
    """

    name: str = DEFAULT.name
    providers: tuple[str, ...] = ()
    threads: Optional[int] = None
    memory: str = "auto"
    optimized: Optional[Path] = None
    arithmetic: Optional[str] = None
    chip: Optional[str] = None

    def is_lean(self, graph: Path, widened: int = 1) -> bool:
        """Return whether a graph's weights are to stay in the file, its own size deciding.

        A runtime that makes weights wider counts them so.
        """
        if self.memory != "auto":
            return self.memory == "lean"
        return widened * size_bytes(graph) > SMALL_BYTES


class Session(Protocol):
    """A component that is loaded."""

    @property
    def providers(self) -> tuple[str, ...]:
        """Return which of the runtime's processors it really uses, in order."""

    @property
    def arithmetic(self) -> str:
        """Return the type in which it computes; see `edgegen_runner.arithmetic`."""

    def run(
        self, inputs: Mapping[str, Array], outputs: Optional[Sequence[str]] = None
    ) -> dict[str, Array]:
        """Compute the named outputs (all, if none are named) from inputs of the declared types."""

    def close(self) -> None:
        """Give the memory back."""


@runtime_checkable
class Rests(Protocol):
    """A session that needs memory only while it computes, and can give it back until then."""

    def rest(self) -> None:
        """Give back what the next run makes anew."""


@runtime_checkable
class RunsEach(Protocol):
    """A session whose parts may be loaded in turn: each serves several calls before it goes."""

    def run_each(
        self, calls: Sequence[Mapping[str, Array]], outputs: Optional[Sequence[str]] = None
    ) -> list[dict[str, Array]]:
        """Compute the named outputs of each call, as `Session.run` does."""


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

    @property
    def arithmetic_gaps(self) -> Mapping[str, str]:
        """Return in which types it cannot compute here what is given in float32, and why."""

    def load(self, path: Path, component: Component) -> Session:
        """Load a component's file.

        Raises RunnerFailure: ``missing-provider`` where a wanted processor would not be used,
        ``bad-request`` where it cannot compute in the wanted type, ``memory`` or ``runtime`` where
        the runtime fails.
        """


def backend_for(target: str, runtimes: Iterable[Runtime] = RUNTIMES) -> str:
    """Return the first backend for a target that is installed here, else the first of all.

    Raises RunnerFailure (bad-package) where no backend runs the target's packages.
    """
    fitting = of_target(target, runtimes)
    if not fitting:
        raise RunnerFailure(
            "bad-package",
            f"This runner has no runtime for packages of the target {target!r}.",
            nearest(target, {runtime.target for runtime in runtimes}),
        )
    return next((runtime for runtime in fitting if runtime.is_here), fitting[0]).name


def open_backend(options: BackendOptions, runtimes: Iterable[Runtime] = RUNTIMES) -> Backend:
    """Import a runtime and return it.

    Where nobody says how many threads, a CPU quota does: a runtime would start one for each core
    that it sees, and they would all wait together.

    Raises RunnerFailure: ``bad-request`` for an unknown name, ``missing-runtime`` where it is not
    installed.
    """
    known = {runtime.name: runtime for runtime in runtimes}
    if options.name not in known:
        raise RunnerFailure(
            "bad-request", f"Unknown backend {options.name!r}.", nearest(options.name, known)
        )
    if options.threads is None:
        options = replace(options, threads=threads_within_quota())
    runtime = known[options.name]
    module, _, attribute = runtime.backend.partition(":")
    try:
        backend: Backend = getattr(import_module(module), attribute)(options)
    except ImportError as error:
        raise RunnerFailure(
            "missing-runtime",
            f"{options.name} cannot be imported: {error}.",
            f"Install it for this Python: pip install {runtime.install}",
        ) from error
    return backend


def runtime_failure(
    what: str, error: Exception, less_memory: str, *, ran_out: str = "allocate"
) -> RunnerFailure:
    """Return what to raise where a runtime failed: ``memory`` where it ran out, else ``runtime``.

    ``less_memory`` is what to do about memory, ``ran_out`` the words by which the runtime says so.
    """
    text = " ".join(_said(error).split())
    if ran_out in text or "bad_alloc" in text or "out of memory" in text.lower():
        return RunnerFailure("memory", f"{what}: memory ran out ({text}).", less_memory)
    return RunnerFailure("runtime", f"{what}: {text}.", "The runtime's log is on standard error.")


def _said(error: Exception) -> str:
    """Return what a runtime said; a broken file may make it say what is not UTF-8."""
    if isinstance(error, UnicodeDecodeError):
        return bytes(error.object).decode("utf-8", "replace")
    return str(error)


def require_ports(component: Component, inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Raise RunnerFailure (bad-package) where a graph lacks what the manifest declares."""
    for kind, declared, found in (
        ("inputs", component.inputs, set(inputs)),
        ("outputs", component.outputs, set(outputs)),
    ):
        missing = [name for name in declared if name not in found]
        if missing or (kind == "inputs" and found != set(declared)):
            raise RunnerFailure(
                "bad-package",
                f"The graph of {component.name} has the {kind} {_listed(found)}, and the manifest "
                f"declares {_listed(declared)}.",
                "Build the package again.",
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def require_outputs(component: Component, names: Sequence[str]) -> None:
    """Raise RunnerFailure (bad-package) for an output that a component does not have."""
    for name in names:
        if name not in component.outputs:
            raise RunnerFailure(
                "bad-package",
                f"{component.name} has no output {name!r}.",
                nearest(name, component.outputs),
            )
