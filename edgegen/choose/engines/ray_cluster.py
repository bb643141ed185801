"""A Ray cluster that runs: which machines it has, and what is started on them."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from edgegen.choose.engines import ray_node
from edgegen.choose.engines.farm import Lost, Node, node_of
from edgegen.choose.engines.parcels import Parcel
from edgegen.core.errors import ConfigError, MissingDependencyError, ResourceError

SETTINGS: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "RAY_NUM_REDIS_GET_RETRIES": "1",  # each takes 40 s where nobody answers
}
"""What Ray reads as it is imported, unless the user says otherwise."""

_AUTO = "auto"
_CLIENT = "ray://"
_CONNECT_S = 10.0
_HIGHEST_PORT = 65535
_GRACE_S = 10.0
"""How long cancelled tasks have to end what they started."""
_IN_FLIGHT = 3
"""How many pieces of a task lie in memory between two machines."""

START = """ray start --head --resources '{"edgegen": 1}'"""
JOIN = """ray start --address=HEAD:6379 --resources '{"edgegen": 1}'"""


@dataclass(frozen=True, slots=True)
class Ended:
    """Something that was started has ended; `why` is empty where it came to its end.

    Else `lost` is what ended too early.
    """

    why: str = ""
    lost: Lost = "machine"


Event = str | bytes | Ended


class Cluster(Protocol):
    """Machines that work. What is started on one of them is known by a number."""

    def nodes(self) -> tuple[Node, ...]:
        """Return the machines that take part and are alive now."""
        ...

    def ask(self, node: Node, question: str) -> int:
        """Begin to ask a machine what it has; one event is the answer."""
        ...

    def offer(self, parcel: Parcel) -> None:
        """Let the machines read a folder's files."""
        ...

    def start(self, node: Node, job: str, resources: Mapping[str, float]) -> int:
        """Begin a job on a machine; it waits there for the resources that it takes."""
        ...

    def events(self, within_s: float) -> Iterator[tuple[int, Event]]:
        """Yield what comes next of what was started; nothing where nothing comes."""
        ...

    def cancel(self, number: int) -> None:
        """End what was started; nothing more is heard of it."""
        ...

    def close(self) -> None:
        """Cancel what runs, and leave the machines."""
        ...


def work_there(job: str, feeder: Any) -> Iterator[str | bytes]:
    """Do a job on a machine of the cluster, which reads what it needs from another."""
    import ray

    def feed(parcel: str, number: int, offset: int) -> bytes:
        piece: bytes = ray.get(feeder.read.remote(parcel, number, offset))
        return piece

    yield from ray_node.work(job, feed)


class RayCluster:
    """A cluster of Ray. A context manager; raises what `connect` does."""

    def __init__(self, address: str | None) -> None:
        self._ray = connect(address)
        self._begun: dict[Any, int] = {}
        self._last = 0
        here = self._ray.get_runtime_context().get_node_id()
        self._feeder = self._remote(ray_node.Feeder, here)
        self._ask = self._ray.remote(ray_node.hello)
        self._work = self._ray.remote(work_there)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def nodes(self) -> tuple[Node, ...]:
        """Return the machines that take part and are alive now."""
        found = (
            node_of(it["NodeID"], it["NodeManagerHostname"], it["Resources"])
            for it in self._ray.nodes()
            if it["Alive"]
        )
        return tuple(sorted((it for it in found if it is not None), key=lambda it: it.id))

    def ask(self, node: Node, question: str) -> int:
        """Begin to ask a machine what it has; one event is the answer."""
        asked = self._ask.options(**self._on(node.id), max_retries=0).remote(question)
        return self._number(asked)

    def offer(self, parcel: Parcel) -> None:
        """Let the machines read a folder's files."""
        names = tuple(file.path for file in parcel.files)
        self._ray.get(self._feeder.offer.remote(parcel.id, parcel.folder, names))

    def start(self, node: Node, job: str, resources: Mapping[str, float]) -> int:
        """Begin a job on a machine; it waits there for the resources that it takes."""
        options = {
            "num_returns": "streaming",
            "max_retries": 0,
            "resources": dict(resources),
            "_generator_backpressure_num_objects": _IN_FLIGHT,
        }
        begun = self._work.options(**self._on(node.id), **options).remote(job, self._feeder)
        return self._number(begun)

    def events(self, within_s: float) -> Iterator[tuple[int, Event]]:
        """Yield what comes next of what was started; nothing where nothing comes."""
        if not self._begun:
            time.sleep(within_s)
            return
        begun = list(self._begun)
        ready, _ = self._ray.wait(begun, num_returns=len(begun), timeout=0)
        if not ready:
            ready, _ = self._ray.wait(begun, num_returns=1, timeout=within_s)
        for waitable in ready:
            number = self._begun[waitable]
            item = self._next_of(waitable)
            if isinstance(item, Ended) or not self._is_stream(waitable):
                del self._begun[waitable]
            yield number, item

    def cancel(self, number: int) -> None:
        """End what was started; nothing more is heard of it."""
        for waitable in [it for it, known in self._begun.items() if known == number]:
            del self._begun[waitable]
            self._ray.cancel(waitable, force=False)

    def close(self) -> None:
        """Cancel what runs, and leave the machines.

        Tasks are asked to end what they started; Ray ends the processes of those that don't.
        """
        try:
            for waitable in self._begun:
                self._ray.cancel(waitable, force=False)
            ends = [it.completed() if self._is_stream(it) else it for it in self._begun]
            if ends:
                self._ray.wait(ends, num_returns=len(ends), timeout=_GRACE_S)
        finally:
            self._begun.clear()
            self._ray.shutdown()

    def _next_of(self, waitable: Any) -> Event:
        errors = self._ray.exceptions
        try:
            item = self._ray.get(next(waitable) if self._is_stream(waitable) else waitable)
        except StopIteration:
            return Ended()
        except errors.RayError as error:
            return ended_by(error, errors)
        if isinstance(item, str | bytes):
            return item
        return Ended(why=f"it sent a {type(item).__name__}")

    def _is_stream(self, waitable: Any) -> bool:
        return isinstance(waitable, self._ray.ObjectRefGenerator)

    def _number(self, waitable: Any) -> int:
        self._last += 1
        self._begun[waitable] = self._last
        return self._last

    def _remote(self, actor: type, node: str) -> Any:
        return self._ray.remote(actor).options(**self._on(node), max_restarts=0).remote()

    def _on(self, node: str) -> dict[str, Any]:
        """Return the options that keep something to one machine; processors are not counted."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        strategy = NodeAffinitySchedulingStrategy(node, soft=False)
        return {"scheduling_strategy": strategy, "num_cpus": 0}


def connect(address: str | None) -> Any:
    """Return Ray, connected to the cluster at an address, by default to the one that runs here.

    Raises MissingDependencyError without Ray, ConfigError for an address that cannot be one, and
    ResourceError where no cluster answers, or one of another version of Ray.
    """
    address = None if address == _AUTO else address
    if address is not None:
        _require_form(address)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            f"The engine 'ray' needs Ray: {error}.", hint="Run: pip install 'edgegen[ray]'"
        ) from error
    if address is not None:
        _require_listener(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address or _AUTO,
            namespace=f"edgegen-{secrets.token_hex(4)}",
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        ray.shutdown()
        raise _unusable(address, _first_line(error)) from error
    else:
        # Else a thread of it prints what happens to machines on our standard output.
        ray._private.worker._worker_logs_enabled = False
    finally:  # Ray takes the signal for itself
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
    return ray


def _require_form(address: str) -> None:
    """Raise ConfigError for an address that cannot be one of a cluster."""
    if address.startswith(_CLIENT):
        raise ConfigError(
            f"{address} is for Ray's client, which doesn't carry what machines send back.",
            hint=f"Let this machine join the cluster: {JOIN}. Then leave --address out.",
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > _HIGHEST_PORT:
        raise ConfigError(
            f"'{address:.80}' is not the address of a Ray cluster.",
            hint="Give HOST:PORT as `ray start --head` prints it; the port is 6379 by default.",
        )


def _require_listener(address: str) -> None:
    """Raise at once where nobody listens at an address; Ray takes minutes to say so."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise _unusable(address, f"{error}") from error


def _unusable(address: str | None, why: str) -> ResourceError:
    where = "on this machine" if address is None else f"at {address}"
    return ResourceError(
        f"No Ray cluster can be used {where}: {why.rstrip('.')}.",
        hint=f"Start one with {START}, or let this machine join one with {JOIN}.",
    )


_WHY = {
    "NodeDiedError": "the machine was lost",
    "TaskUnschedulableError": "the machine was lost",
    "LocalRayletDiedError": "the machine was lost",
    "WorkerCrashedError": "its process was ended",
    "OutOfMemoryError": "memory ran out there",
    "OutOfDiskError": "its disk is full",
    "OwnerDiedError": "the machine was lost while it sent",
    "ObjectLostError": "the machine was lost while it sent",
    "ActorDiedError": "the process that sends it files was ended",
    "ActorUnavailableError": "the process that sends it files doesn't answer",
    "TaskCancelledError": "it was cancelled",
}


_LOST: Mapping[str, Lost] = {"WorkerCrashedError": "process", "OutOfMemoryError": "memory"}
"""What was lost where it isn't the machine; Ray's memory monitor raises the second one."""


def ended_by(error: Exception, errors: Any) -> Ended:
    """Return how something ended by an error of Ray; `errors` is `ray.exceptions`."""
    if isinstance(error, errors.RayTaskError):
        cause = error.cause
        if isinstance(cause, MemoryError):
            return Ended(why=_WHY["OutOfMemoryError"], lost="memory")
        # An error of Ray here is that of another process, from which the worker wanted something.
        named = _WHY.get(type(cause).__name__)
        return Ended(why=named or f"it failed: {type(cause).__name__}: {_first_line(cause)}")
    for kind in type(error).__mro__:
        if kind.__name__ in _WHY:
            return Ended(why=_WHY[kind.__name__], lost=_LOST.get(kind.__name__, "machine"))
    return Ended(why=f"Ray says: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
