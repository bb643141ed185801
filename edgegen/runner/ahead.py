"""Starts the runner here before its job is known: it imports its runtime while the host checks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edgegen_runner.contexts import CONTEXTS
from edgegen_runner.runtimes import called, of_target

from edgegen.core.environment import RUNNER_ENVIRONMENT
from edgegen.core.folders import PACKAGE_MARK
from edgegen.core.process import Child
from edgegen.core.regular_files import open_regular
from edgegen.runner.runtimes import RUNTIMES, is_for_devices

OWN = ("-P", "-m", "edgegen.runner.child")
"""The runner in edgegen's own Python, which alone has the runtimes of this machine."""

_MOST_BYTES = 16 << 20


def program_of(runtime: str) -> list[str]:
    """Return what Python starts here: the packed runner, as on a device, where devices have it."""
    from edgegen.runner.pack import packed_runner

    return [str(packed_runner())] if is_for_devices(runtime) else list(OWN)


class RunnerAhead:
    """A runner that waits for a job of one runtime, until it is taken or closed.

    It is edgegen's own, which Python has compiled: the packed one compiles itself at each start.
    """

    def __init__(self, runtime: str) -> None:
        self.runtime = runtime
        arguments = [sys.executable, *OWN, "--for", runtime]
        self._child: Child | None = Child(arguments, env=RUNNER_ENVIRONMENT)

    def take(self) -> Child | None:
        """Return the process, once; whoever takes it ends it."""
        child, self._child = self._child, None
        return child

    def close(self) -> None:
        """End the process, unless somebody took it."""
        child = self.take()
        if child is not None:
            child.close(grace_s=0.0)


@contextmanager
def runner_ahead(package: Path, wanted: str | None) -> Iterator[RunnerAhead | None]:
    """Start the runtime that a package will probably run with here.

    `wanted` is the one that the user asked for, None for the first that is installed. What is wrong
    with the package, or the runtime, is for those to tell who read it: then nothing is started.
    """
    runtime = _guess(package, wanted)
    if runtime is None:
        yield None
        return
    with closing(RunnerAhead(runtime)) as ahead:
        yield ahead


def _guess(package: Path, wanted: str | None) -> str | None:
    try:
        with open_regular(package / PACKAGE_MARK, roots=(package,)) as file:
            manifest = json.loads(file.read(_MOST_BYTES))
            target = CONTEXTS if manifest.get("compiled") else manifest["target"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    usable = of_target(str(target), RUNTIMES)
    if wanted is not None:
        usable = tuple(each for each in usable if each == called(wanted, usable))
    return next((each.name for each in usable if each.is_here), None)
