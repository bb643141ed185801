"""Keeps small components loaded from one job of a series to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

from .backends import Array, Backend, Session
from .package import Component

MOST_BYTES = 128 << 20
"""What the files of all kept components take: a runtime may want several times that in memory."""


class KeepingBackend:
    """A runtime that loads a component once, as long as the components are small together."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._kept: dict[Path, Session] = {}
        self._left_bytes = MOST_BYTES

    @property
    def name(self) -> str:
        """Return the runtime's name."""
        return self._backend.name

    @property
    def version(self) -> str:
        """Return the runtime's version."""
        return self._backend.version

    @property
    def available_providers(self) -> tuple[str, ...]:
        """Return the runtime's providers."""
        return self._backend.available_providers

    @property
    def arithmetic_gaps(self) -> Mapping[str, str]:
        """Return in which types the runtime cannot compute here, and why."""
        return self._backend.arithmetic_gaps

    def load(self, path: Path, component: Component) -> Session:
        """Load a component's file, or return what was kept of it; see `Backend.load`."""
        if path in self._kept:
            return _Kept(self._kept[path])
        session = self._backend.load(path, component)
        size = _size((path, *component.parts))
        if size > self._left_bytes:
            return session
        self._left_bytes -= size
        self._kept[path] = session
        return _Kept(session)

    def close(self) -> None:
        """Give back what was kept."""
        while self._kept:
            self._kept.popitem()[1].close()


class _Kept:
    """A session that stays when its user is done with it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def providers(self) -> tuple[str, ...]:
        """Return what the session uses."""
        return self._session.providers

    @property
    def arithmetic(self) -> str:
        """Return the type in which the session computes."""
        return self._session.arithmetic

    def run(
        self, inputs: Mapping[str, Array], outputs: Optional[Sequence[str]] = None
    ) -> dict[str, Array]:
        """Compute outputs; see `Session.run`."""
        return self._session.run(inputs, outputs)

    def close(self) -> None:
        """Leave the session as it is."""


def _size(parts: Sequence[Path]) -> int:
    """Return what a component's files take, with weights that lie beside a graph's file."""
    files = {
        file
        for part in parts
        for file in (part.rglob("*") if part.is_dir() else part.parent.glob("*"))
    }
    return sum(file.stat().st_size for file in files if file.is_file())
