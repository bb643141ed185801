"""Which components are in memory, and how long the runtime worked.

``all`` keeps every component that was loaded. ``drawing`` keeps those that draw, and lets a text
encoder go once it has encoded the prompt; ``sequential`` holds one component at a time, so that the
peak is that of the largest; ``parts`` does so, and of a component that is cut holds one part. Those
that work in the steps of an image (a denoiser, the second one that it has where it keeps features,
ControlNets) take turns in every image, and count as one.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
import numpy.typing as npt

from .backends import Backend, Rests, RunsEach, Session
from .errors import RunnerFailure
from .events import Emit
from .heap import trim
from .package import Component, Package, Tensor
from .runtime_versions import refuse_older

if TYPE_CHECKING:
    from .lora import Inputs

Array = npt.NDArray[Any]

_READ_THE_PROMPT = ("text_encoder", "image_encoder", "image_projection")
_TAKE_TURNS = ("controlnet", "denoiser", "shallow_denoiser")

_DTYPES = {
    "float32": np.float32,
    "float16": np.float16,
    "int64": np.int64,
    "int32": np.int32,
    "int8": np.int8,
    "uint8": np.uint8,
    "bool": np.bool_,
}


class Components:
    """The components of a package, loaded when they are needed.

    With ``lora`` its layers get those inputs in each call. ``decode_tile`` is the side of the tiles
    in which a picture is decoded, in latents; None is as the package says.
    ``runtime_s`` and ``load_s`` only grow: the time inside the runtime's calls, and in loading.
    ``arithmetics`` are the types in which what was loaded computes.
    Raises RunnerFailure (missing-runtime) where the runtime is older than the package needs.
    """

    def __init__(
        self,
        package: Package,
        backend: Backend,
        residency: str,
        emit: Emit,
        lora: Optional[Inputs] = None,
        decode_tile: Optional[int] = None,
    ) -> None:
        if package.runtime_since:
            refuse_older(package.runtime_since, backend.name, backend.version, package.recipe)
        self.package = package
        self.residency = residency
        self.decode_tile = decode_tile or package.generation.decode_tile
        self.runtime_s = 0.0
        self.load_s = 0.0
        self.arithmetics: dict[str, None] = {}
        self._backend = backend
        self._emit = emit
        self._lora = lora or {}
        self._sessions: dict[str, Session] = {}

    def load(self, names: Sequence[str]) -> None:
        """Load components ahead of time; with residency ``all`` alone."""
        if self.residency == "all":
            for name in names:
                self._acquire(name)

    def run(
        self, name: str, inputs: Mapping[str, Array], outputs: Optional[Sequence[str]] = None
    ) -> dict[str, Array]:
        """Compute outputs of a component; float16 ones come back as float32.

        Inputs that the component does not have are left out, and the others cast to its types.
        Raises RunnerFailure: ``bad-package`` where an input is not given, and what the runtime
        raises.
        """
        return self.run_each(name, [inputs], outputs)[0]

    def run_each(
        self,
        name: str,
        calls: Sequence[Mapping[str, Array]],
        outputs: Optional[Sequence[str]] = None,
    ) -> list[dict[str, Array]]:
        """Compute outputs of a component from the inputs of each call; see `run`."""
        component = self.package.component(name)
        session = self._acquire(name)
        feeds = [self._feeds(component, inputs) for inputs in calls]
        if self.residency == "drawing":
            self._let_rest_all_but(component)
        started = time.perf_counter()
        if isinstance(session, RunsEach):
            results = session.run_each(feeds, outputs)
        else:
            results = [session.run(feed, outputs) for feed in feeds]
        self.runtime_s += time.perf_counter() - started
        for values in results:
            for key, value in values.items():
                if value.dtype == np.float16:
                    values[key] = value.astype(np.float32)
        return results

    def _feeds(self, component: Component, inputs: Mapping[str, Array]) -> dict[str, Array]:
        feeds = {}
        for tensor in component.inputs.values():
            if tensor.name not in inputs:
                raise RunnerFailure(
                    "bad-package",
                    f"{component.name} wants an input {tensor.name!r}, which this pipeline does "
                    "not make.",
                    f"It makes {', '.join(inputs)}.",
                )
            feeds[tensor.name] = _cast(inputs[tensor.name], tensor)
        feeds.update(self._lora.get(component.name, {}))
        return feeds

    def close(self) -> None:
        """Free every component."""
        for name in list(self._sessions):
            self._free(name)

    def _acquire(self, name: str) -> Session:
        session = self._sessions.get(name)
        if session is not None:
            return session
        component = self.package.component(name)
        if self.residency != "all":
            self._free_all_but(component)
        start = time.perf_counter()
        named = _named_in_utf8(component)
        if self.residency == "parts":
            named = dataclasses.replace(named, in_turn=bool(named.parts))
        session = self._backend.load(named.path, named)
        end = time.perf_counter()
        self.load_s += end - start
        self._sessions[name] = session
        self.arithmetics[session.arithmetic] = None
        self._emit(
            "load",
            component=name,
            start=start,
            end=end,
            providers=list(session.providers),
            arithmetic=session.arithmetic,
        )
        return session

    def _let_rest_all_but(self, wanted: Component) -> None:
        for name, session in self._sessions.items():
            works = name == wanted.name or _take_turns(wanted, self.package.component(name))
            if not works and isinstance(session, Rests):
                session.rest()

    def _free_all_but(self, wanted: Component) -> None:
        for name in list(self._sessions):
            if not self._go_together(wanted, self.package.component(name)):
                self._free(name)

    def _go_together(self, one: Component, other: Component) -> bool:
        """Return whether two components may be in memory at once."""
        if self.residency == "drawing":
            return not {one.role, other.role}.intersection(_READ_THE_PROMPT)
        return _take_turns(one, other)

    def _free(self, name: str) -> None:
        self._sessions.pop(name).close()
        if self.residency != "all":  # the next component is to find room
            gc.collect()
            trim()
        self._emit("free", component=name)


def _take_turns(one: Component, other: Component) -> bool:
    return {one.role, other.role}.issubset(_TAKE_TURNS)


def _named_in_utf8(component: Component) -> Component:
    """Return a component whose files have names that a runtime takes.

    Runtimes take texts, and so no folder whose name is not UTF-8: Linux has another name for it,
    by the number under which it is open. It stays open, for a runtime may read weights later.
    """
    folder = component.path.parent
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        opened = Path(f"/proc/self/fd/{os.open(folder, os.O_RDONLY)}")
        parts = tuple(opened / os.path.relpath(part, folder) for part in component.parts)
        return dataclasses.replace(component, path=opened / component.path.name, parts=parts)
    return component


def _cast(value: Array, tensor: Tensor) -> Array:
    dtype = _DTYPES.get(tensor.dtype)
    if dtype is None:
        raise RunnerFailure("bad-package", f"{tensor.name} has the type {tensor.dtype!r}.")
    if value.dtype == dtype and value.flags.c_contiguous:
        return value
    return np.ascontiguousarray(value, dtype=dtype).reshape(value.shape)
