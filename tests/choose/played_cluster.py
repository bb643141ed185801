"""A cluster whose machines are folders: they do what they are asked here, and can be lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from edgegen.choose.engines import ray_node
from edgegen.choose.engines.farm import LOCAL, Node, node_of
from edgegen.choose.engines.messages import Answer, Job, Making, Message, Question, making_here
from edgegen.choose.engines.messages import read as read_text
from edgegen.choose.engines.messages import write as write_text
from edgegen.choose.engines.parcels import Parcel
from edgegen.choose.engines.ray_cluster import Ended, Event
from edgegen.choose.jobs import DeviceRef
from edgegen.choose.prepare import Place

IDENTITY = {"model": "a played board", "machine": "aarch64", "cores": 4, "memory_bytes": 4 << 30}


def played_place(**identity: object) -> Place:
    return Place(
        device=DeviceRef(address=LOCAL, root=None, identity={**IDENTITY, **identity}),
        title="a played board",
        profile=None,
        targets=("onnx", "openvino"),
        lacking={},
        has_energy=False,
    )


class PlayedCluster:
    """Machines in folders below `root`. What is started goes on by one event at a time, in turn.

    `befalls` is asked before each event of a job, with the job's machine and how many events it has
    had; it may lose machines. `ends` is asked whether a job's process ends now, its machine going
    on. Devices, by resource and machine, are never used twice at once.
    """

    def __init__(
        self,
        root: Path,
        machines: Mapping[str, Mapping[str, float]],
        *,
        befalls: Callable[[PlayedCluster, str, int], None] = lambda cluster, node, count: None,
        places: Mapping[str, Place] | None = None,
        making: Mapping[str, Making] | None = None,
        shared: str | None = None,
    ) -> None:
        self.root = root
        self.machines = dict(machines)
        self.befalls = befalls
        self.places = places or {}
        self.making = making or {}
        self.shared = shared
        self.closed = False
        self.changes: Callable[[Event], Event] = lambda event: event
        self.ends: Callable[[Job], Ended | None] = lambda job: None
        self._last = 0
        self._answers: dict[int, tuple[str, str]] = {}
        self._jobs: dict[int, tuple[str, Iterator[Event]]] = {}
        self._texts: dict[int, str] = {}
        self._counts: dict[int, int] = {}
        self._waiting: dict[int, tuple[str, Mapping[str, float]]] = {}
        self._offered: dict[str, Parcel] = {}

    def nodes(self) -> tuple[Node, ...]:
        found = (node_of(name, f"host-{name}", it) for name, it in self.machines.items())
        return tuple(it for it in found if it is not None)

    def lose(self, name: str) -> None:
        """Let a machine go: whatever runs on it is lost."""
        self.machines.pop(name, None)

    def ask(self, node: Node, question: str) -> int:
        asked = read_text(Question, question)
        place = self.places.get(node.id, played_place())
        answer = Answer(
            making=self.making.get(node.id, making_here()),
            shares_cache=node.id == self.shared,
            places=dict.fromkeys(asked.addresses, place),
        )
        self._last += 1
        self._answers[self._last] = (node.id, write_text(answer))
        return self._last

    def offer(self, parcel: Parcel) -> None:
        self._offered[parcel.id] = parcel

    def start(self, node: Node, job: str, resources: Mapping[str, float]) -> int:
        self._last += 1
        self._waiting[self._last] = (node.id, resources)
        self._jobs[self._last] = (node.id, iter(ray_node.work(job, self._feed)))
        self._texts[self._last] = job
        self._counts[self._last] = 0
        assert all(self._taken(node.id, it) <= self.machines[node.id][it] for it in resources)
        return self._last

    def events(self, within_s: float) -> Iterator[tuple[int, Event]]:
        for number in list(self._answers):
            name, answer = self._answers.pop(number)
            yield number, answer if name in self.machines else Ended(why="the machine was lost")
        for number in list(self._jobs):
            if number in self._jobs:
                event = self._next_of(number)
                if isinstance(event, Ended):
                    del self._jobs[number], self._waiting[number]
                yield number, event

    def cancel(self, number: int) -> None:
        del self._jobs[number], self._waiting[number]

    def close(self) -> None:
        self.closed = True
        self._jobs.clear()

    def _next_of(self, number: int) -> Event:
        name, events = self._jobs[number]
        self.befalls(self, name, self._counts[number])
        self._counts[number] += 1
        if name not in self.machines:
            return Ended(why="the machine was lost")
        ended = self.ends(read_text(Job, self._texts[number]))
        if ended is not None:
            return ended
        with self._on(name):
            return self.changes(next(events, Ended()))

    def _taken(self, name: str, resource: str) -> float:
        return sum(it.get(resource, 0.0) for node, it in self._waiting.values() if node == name)

    def _feed(self, parcel: str, number: int, offset: int) -> bytes:
        offered = self._offered[parcel]
        data = (Path(offered.folder) / offered.files[number].path).read_bytes()
        return data[offset : offset + ray_node.PIECE_BYTES]

    @contextmanager
    def _on(self, name: str) -> Iterator[None]:
        """Have the cache of a machine."""
        if name == self.shared:
            yield
            return
        own = os.environ["EDGEGEN_CACHE_DIR"]
        os.environ["EDGEGEN_CACHE_DIR"] = str(self.root / name)
        try:
            yield
        finally:
            os.environ["EDGEGEN_CACHE_DIR"] = own


def spoiled(event: Event) -> Event:
    """Return an event whose bytes are other ones."""
    return bytes(len(event)) if isinstance(event, bytes) else event


def strayed(event: Event) -> Event:
    """Return an event that puts its file elsewhere."""
    if not isinstance(event, str):
        return event
    message = read_text(Message, event)
    if message.file is None:
        return event
    return write_text(replace(message, file=replace(message.file, path="../../stray")))
