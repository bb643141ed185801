"""Answers the host's requests until its connection ends."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from .. import __version__
from . import blobs, pruning, versions
from .children import kill_all
from .facts import describe, processor_temperature_c
from .failure import AgentFailure, disk_failure
from .lock import DeviceLock
from .page_cache import evict, look
from .paths import Folders
from .runtimes import set_up, use_runtime
from .system_state import read_system_state
from .wire import HostGone, Wire

SCHEMA = 1
HOST_GONE_EXIT_CODE = 4

_THERMOMETERS = ("thermalservice", "vcgencmd", "thermal_zone", "hwmon", "powermetrics")
"""The readers that know temperatures."""


class Agent:
    """The requests, by name: each takes a request and returns the fields of its answer."""

    def __init__(self, folders: Folders, wire: Wire) -> None:
        self._folders = folders
        self._wire = wire
        self._lock = DeviceLock(folders)
        self.requests = {
            "describe": lambda request: describe(folders, tried=bool(request.get("tried"))),
            "state": lambda request: read_system_state(),
            "temperature": self._temperature,
            "lock": lambda request: self._lock.take(dict(request["owner"])),
            "missing": lambda request: {"blobs": blobs.missing(folders, request["blobs"])},
            "put": lambda request: blobs.receive(folders, wire, request),
            "get": self._get,
            "verify": lambda request: versions.verify(folders, request),
            "drop": lambda request: pruning.drop(folders, request),
            "link": lambda request: versions.link(folders, request),
            "switch": lambda request: versions.switch(folders, request),
            "rollback": lambda request: versions.rollback(folders, request),
            "status": lambda request: {"packages": versions.status(folders)},
            "prune": lambda request: pruning.prune(folders, request),
            "make_run": self._make_run,
            "remove_run": self._remove_run,
            "list_run": self._list_run,
            "page_cache": self._page_cache,
            "make_tool": lambda request: blobs.make_tool(folders, request),
            "set_up": lambda request: set_up(folders, request),
            "use_runtime": self._use_runtime,
        }

    def serve(self) -> None:
        """Answer until the host is gone."""
        self._wire.answer(
            event="hello",
            schema=SCHEMA,
            version=__version__,
            pid=os.getpid(),
            root=str(self._folders.root),
        )
        while True:
            request = self._wire.read_request()
            try:
                self._wire.answer(event="done", **self._answer(request))
            except AgentFailure as failure:
                self._refuse(failure)
            except OSError as error:
                self._refuse(disk_failure(error))

    def _refuse(self, failure: AgentFailure) -> None:
        self._wire.answer(event="error", kind=failure.kind, message=failure.message)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        name = str(request.get("request"))
        if name not in self.requests:
            raise AgentFailure("bad-request", f"There is no request {name!r}.")
        try:
            return self.requests[name](request)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            text = f"{name}: {type(error).__name__}: {error}"
            raise AgentFailure("bad-request", text) from error

    def _temperature(self, request: dict[str, Any]) -> dict[str, Any]:
        from ..sensors.readers import find_sensors, read_all

        sensor, value = processor_temperature_c(read_all(find_sensors(readers=_THERMOMETERS)))
        return {"sensor": sensor, "temperature_c": value, "at_s": time.monotonic()}

    def _get(self, request: dict[str, Any]) -> dict[str, Any]:
        blobs.send(self._folders, self._wire, request)
        return {}

    def _make_run(self, request: dict[str, Any]) -> dict[str, Any]:
        folder = self._folders.run(str(request["name"]))
        folder.mkdir(parents=True, exist_ok=True)
        return {"path": str(folder)}

    def _remove_run(self, request: dict[str, Any]) -> dict[str, Any]:
        import shutil

        shutil.rmtree(self._folders.run(str(request["name"])), ignore_errors=True)
        return {}

    def _list_run(self, request: dict[str, Any]) -> dict[str, Any]:
        folder = self._folders.run(str(request["name"]))
        return {"files": sorted(p.name for p in folder.glob("*") if p.is_file())}

    def _page_cache(self, request: dict[str, Any]) -> dict[str, Any]:
        files = [Path(str(file)) for file in request["files"]]
        return evict(files) if request.get("evict") else look(files)

    def _use_runtime(self, request: dict[str, Any]) -> dict[str, Any]:
        use_runtime(self._folders, str(request["name"]))
        return {}


def _end() -> None:
    """End at once, whatever is being done: the system gives back the lock."""
    kill_all()
    os._exit(HOST_GONE_EXIT_CODE)


def main(root: str, *, silence_s: float = 60.0) -> int:
    """Serve the host on the standard streams; standard output is taken from everyone else."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for what is tried here: it would leave files
    sink = os.dup(1)
    os.set_inheritable(sink, False)
    os.dup2(2, 1)
    wire = Wire(0, sink, silence_s=silence_s, host_gone=_end)
    try:
        Agent(Folders(Path(root).expanduser()), wire).serve()
    except HostGone:
        return HOST_GONE_EXIT_CODE
    except ValueError as error:
        sys.stderr.write(f"The host does not speak the agent's language: {error}\n")
        return HOST_GONE_EXIT_CODE
    return 0
