"""Who does the work of a choice: this machine, or others. Each kind is imported when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from edgegen.choose.cache import Cache
from edgegen.choose.tasks import Done, Task
from edgegen.core.errors import ConfigError, nearest
from edgegen.core.profile import DeviceProfile
from edgegen.core.progress import Progress

if TYPE_CHECKING:
    from edgegen.choose.prepare import Place

ENGINES: Mapping[str, str] = {
    "local": "edgegen.choose.engines.local:LocalEngine",
    "ray": "edgegen.choose.engines.ray:RayEngine",
}
"""By the word that `--engine` takes."""

DEFAULT = "local"


class Engine(Protocol):
    """Does tasks, in any order, several at once where it can.

    A task that fails is a `Done` that says why; a machine that is lost in the middle of one is no
    failure: the task is done elsewhere. Results lie in the cache that it was opened with. What it
    is doing is told to `progress`, which may be exchanged; `warnings` grow while it works.
    """

    progress: Progress

    @property
    def room(self) -> int:
        """Return how many tasks it takes at once."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what the user should know of its machines."""
        ...

    def place(self, name: str, root: str | None, profile: DeviceProfile | None) -> Place | None:
        """Return a device of its machines, which measures from now on.

        None where devices are attached to this machine. Raises ConfigError where there is no such
        device, and DeviceUnreachableError where it doesn't answer.
        """
        ...

    def submit(self, tasks: Sequence[Task]) -> None:
        """Take tasks; packages of one model are made together where that saves work."""
        ...

    def completed(self) -> Iterator[Done]:
        """Wait until at least one task is done, and yield what is."""
        ...


class OpensEngine(Protocol):
    """Opens an engine for a `with` block; it leaves nothing running."""

    def __call__(
        self, cache: Cache, progress: Progress, *, address: str | None
    ) -> AbstractContextManager[Engine]:
        """Open it; `address` is that of the machines, where it has others."""
        ...


def open_engine(
    name: str, cache: Cache, progress: Progress, *, address: str | None = None
) -> AbstractContextManager[Engine]:
    """Return an engine by its name; raises ConfigError where there is no such one."""
    if name not in ENGINES:
        raise ConfigError(f"There is no engine '{name:.40}'.", hint=nearest(name, ENGINES))
    module, _, attribute = ENGINES[name].partition(":")
    opens: OpensEngine = getattr(importlib.import_module(module), attribute)
    return opens(cache, progress, address=address)
