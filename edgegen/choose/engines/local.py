"""Does all work on this machine, one task after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from edgegen.choose.cache import Cache
from edgegen.choose.tasks import BuildTask, Done, EvaluateTask, ProbeTask, Task
from edgegen.choose.work import build, evaluate, probe, take_measurement
from edgegen.core.errors import ConfigError
from edgegen.core.profile import DeviceProfile
from edgegen.core.progress import Progress


class LocalEngine:
    """An engine that works when it is waited for; the work itself runs in child processes."""

    room = 1
    warnings: tuple[str, ...] = ()

    def __init__(self, cache: Cache, progress: Progress, *, address: str | None = None) -> None:
        if address is not None:
            raise ConfigError(
                "--address is that of other machines, and the engine 'local' has none.",
                hint="Leave --address out, or choose another --engine.",
            )
        self._cache = cache
        self.progress = progress
        self._waiting: list[Task] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._waiting.clear()

    def place(self, name: str, root: str | None, profile: DeviceProfile | None) -> None:
        """Return None: devices are attached to this machine."""

    def submit(self, tasks: Sequence[Task]) -> None:
        """Take tasks."""
        self._waiting.extend(tasks)

    def completed(self) -> Iterator[Done]:
        """Do the first task, or the packages of one model together, and yield what came of it."""
        if not self._waiting:
            return
        first = self._waiting[0]
        if isinstance(first, BuildTask):
            together = [
                task
                for task in self._waiting
                if isinstance(task, BuildTask) and task.model == first.model
            ]
            self._waiting = [task for task in self._waiting if task not in together]
            yield from build(together, self._cache, self.progress)
            return
        self._waiting.pop(0)
        if isinstance(first, ProbeTask):
            yield probe(first, self._cache, self.progress)
        elif isinstance(first, EvaluateTask):
            yield evaluate(first, self._cache, self.progress)
        else:
            yield take_measurement(first, self._cache, self.progress)
