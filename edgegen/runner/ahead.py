"""A runner that was started here before its job is known: it imports its runtime meanwhile."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from edgegen.core.head_start import HeadStart
from edgegen.core.process import Child
from edgegen.runner.guess import guess
from edgegen.runner.program import OWN
from edgegen.runner.runtimes import is_for_devices


def program_of(runtime: str) -> list[str]:
    """Return what Python starts here: the packed runner, as on a device, where devices have it."""
    from edgegen.runner.pack import packed_runner

    return [str(packed_runner())] if is_for_devices(runtime) else list(OWN)


class RunnerAhead:
    """A runner that waits for a job of one runtime, until it is taken or closed.

    It is edgegen's own, which Python has compiled: the packed one compiles itself at each start.
    `wanted` is the runtime that the user asked for, None for the first that is installed.
    """

    def __init__(self, started: HeadStart, package: Path, wanted: str | None) -> None:
        self._package, self._wanted = package, wanted
        self._child: Child | None = Child(started.arguments, started=started)

    @cached_property
    def runtime(self) -> str | None:
        """Return the runtime that it imports: both guess in the same way. None: it imports none."""
        guessed = guess(self._package, self._wanted)
        return None if guessed is None else guessed.runtime

    def take(self) -> Child | None:
        """Return the process, once; whoever takes it ends it."""
        child, self._child = self._child, None
        return child

    def close(self) -> None:
        """End the process, unless somebody took it."""
        child = self.take()
        if child is not None:
            child.close(grace_s=0.0)
