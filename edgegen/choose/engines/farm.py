"""Which machine of a farm does which task, and what is done when one is lost: values, no machines.

A machine takes part where it has the resource `edgegen`; its amount is how many tasks it works on
at once. A device that is attached to it is another resource of it, `device:NAME=ADDRESS` or
`device:ADDRESS`. Devices that share a name are alike: any of them may measure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from edgegen.choose.tasks import BuildTask, Done, MeasureTask, Task
from edgegen.core import errors
from edgegen.core.errors import (
    DeviceError,
    ExportError,
    MissingDependencyError,
    OutOfMemoryError,
    ResourceError,
)

SLOTS = "edgegen"
DEVICE = "device:"
LOCAL = "local"

MOST_ATTEMPTS = 3
"""How often a task is begun before it counts as failed."""
MOST_TOGETHER = 8
"""How many packages of a model one machine makes together, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmDevice:
    """A device of a machine: what users call it, and its address as that machine sees it."""

    name: str
    address: str
    resource: str

    def is_called(self, name: str) -> bool:
        """Return whether it is meant by a name, or by an address that isn't everybody's."""
        return name == self.name or (name == self.address and name != LOCAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine that takes part: how many tasks it works on at once, and its devices."""

    id: str
    host: str
    slots: int
    devices: tuple[FarmDevice, ...] = ()


def device_of(resource: str) -> FarmDevice | None:
    """Return the device that a resource stands for; None where it is none.

    >>> device_of("device:pi5=ssh://pi@10.0.0.7").name
    'pi5'
    >>> device_of("device:adb://R3CN30").address
    'adb://R3CN30'
    """
    if not resource.startswith(DEVICE):
        return None
    said = resource.removeprefix(DEVICE)
    name, equals, address = said.partition("=")
    if not equals:
        name = address = said
    return FarmDevice(name=name, address=address, resource=resource) if name and address else None


def node_of(identity: str, host: str, resources: Mapping[str, float]) -> Node | None:
    """Return a machine by its resources; None for one that takes no part."""
    slots = math.floor(resources.get(SLOTS, 0.0))
    if slots < 1:
        return None
    found = (device_of(name) for name, amount in sorted(resources.items()) if amount >= 1)
    devices = tuple(device for device in found if device is not None)
    return Node(id=identity, host=host, slots=slots, devices=devices)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Assignment:
    """Tasks that a machine works on together. `slots` is how much of the machine they take."""

    node: Node
    tasks: tuple[Task, ...]
    slots: int
    device: FarmDevice | None = None

    @property
    def resources(self) -> Mapping[str, float]:
        """Return what they take of the machine's resources."""
        taken = {SLOTS: float(self.slots)} if self.slots else {}
        return taken if self.device is None else {**taken, self.device.resource: 1.0}


Lost = Literal["machine", "process", "memory"]
"""What was lost in the middle of a task: the machine or the way to it, or the task's process on a
machine that goes on, which says something of the task. `memory` is such a process, for want of it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """An attempt that came to nothing: on which machine, why, and what was lost."""

    node: str
    host: str
    why: str
    lost: Lost = "machine"


@dataclass(eq=False, kw_only=True)
class _Waiting:
    task: Task
    losses: list[Loss] = field(default_factory=list)

    def avoids(self, node: Node) -> bool:
        return any(loss.node == node.id for loss in self.losses)


Place = tuple[Node, FarmDevice | None]


class Dispatch:
    """The tasks that wait, and those that machines work on.

    A device, by its address, is never given to two tasks. This machine as a device (`local`) is
    measured while nothing else is done on it.
    """

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._running: dict[Assignment, tuple[_Waiting, ...]] = {}

    @property
    def waiting(self) -> tuple[Task, ...]:
        """Return the tasks that no machine works on."""
        return tuple(waiting.task for waiting in self._waiting)

    @property
    def running(self) -> tuple[Assignment, ...]:
        """Return what machines work on."""
        return tuple(self._running)

    def add(self, tasks: Iterable[Task]) -> None:
        """Take tasks."""
        self._waiting += [_Waiting(task=task) for task in tasks]

    def assign(self, nodes: Sequence[Node]) -> Iterator[Assignment]:
        """Yield what machines that are free are to begin; it counts as begun.

        Measurements go first: a machine that is its own device becomes free for one.
        """
        kept: set[str] = set()
        for waiting in sorted(self._waiting, key=lambda it: not isinstance(it.task, MeasureTask)):
            if waiting not in self._waiting:  # it went with another one
                continue
            places = self._best_places(waiting, nodes)
            free = [place for place in places if self._is_free(place, kept)]
            if not free:
                kept |= {node.id for node, device in places[:1] if _is_own(device)}
                continue
            node, device = min(free, key=lambda place: self._used(place[0]))
            together = self._together(waiting, nodes)
            slots = 1
            if device is not None:
                slots = node.slots if _is_own(device) else 0
            made = Assignment(
                node=node, tasks=tuple(it.task for it in together), slots=slots, device=device
            )
            self._waiting = [it for it in self._waiting if it not in together]
            self._running[made] = together
            yield made

    def ended(self, assignment: Assignment, why: str = "", lost: Lost = "machine") -> list[Done]:
        """Note that a machine is done with an assignment, or that something was lost meanwhile.

        What it left unanswered waits again; the tasks that are given up are returned.
        """
        node, given_up = assignment.node, []
        for waiting in self._running.pop(assignment):
            reason = why or "it ended without an answer"
            waiting.losses.append(Loss(node=node.id, host=node.host, why=reason, lost=lost))
            if len(waiting.losses) < MOST_ATTEMPTS:
                self._waiting.insert(0, waiting)
            else:
                given_up.append(_given_up(waiting))
        return given_up

    def answered(self, assignment: Assignment, done: Done, nodes: Sequence[Node]) -> Done | None:
        """Take what came of a task; None where another machine is to try it.

        That is so where the machine or its device was at fault, and another one has not tried yet.
        """
        running = self._running[assignment]
        (waiting,) = (it for it in running if it.task.key == done.key)
        self._running[assignment] = tuple(it for it in running if it is not waiting)
        if done.failed and _is_of_the_machine(done.kind):
            node = assignment.node
            lost: Lost = "memory" if done.kind == OutOfMemoryError.__name__ else "machine"
            waiting.losses.append(Loss(node=node.id, host=node.host, why=done.failed, lost=lost))
            others = [it for it, _ in self._places(waiting.task, nodes) if not waiting.avoids(it)]
            if others and len(waiting.losses) < MOST_ATTEMPTS:
                self._waiting.insert(0, waiting)
                return None
        return done

    def homeless(self, nodes: Sequence[Node]) -> list[Task]:
        """Return the waiting tasks that no machine can do."""
        return [it.task for it in self._waiting if not any(self._places(it.task, nodes))]

    def give_up(self, task: Task) -> None:
        """Forget a task that waits."""
        self._waiting = [it for it in self._waiting if it.task is not task]

    def _places(self, task: Task, nodes: Sequence[Node]) -> Iterator[Place]:
        """Yield where a task can be done, busy or not."""
        for node in nodes:
            if isinstance(task, MeasureTask):
                yield from ((node, it) for it in node.devices if it.is_called(task.device))
            else:
                yield node, None

    def _best_places(self, waiting: _Waiting, nodes: Sequence[Node]) -> list[Place]:
        """Return where a task is to be done: elsewhere than it was lost, where there is one."""
        places = list(self._places(waiting.task, nodes))
        return [place for place in places if not waiting.avoids(place[0])] or places

    def _is_free(self, place: Place, kept: set[str]) -> bool:
        node, device = place
        if device is None:
            return node.id not in kept and self._used(node) < node.slots
        if _is_own(device) and self._used(node) > 0:
            return False
        return not any(_are_same(place, (it.node, it.device)) for it in self._running)

    def _used(self, node: Node) -> int:
        return sum(it.slots for it in self._running if it.node.id == node.id)

    def _together(self, first: _Waiting, nodes: Sequence[Node]) -> tuple[_Waiting, ...]:
        """Return a task with those that share its work: packages of a model, spread evenly."""
        task = first.task
        if not isinstance(task, BuildTask) or first.losses:
            return (first,)
        alike = [
            it
            for it in self._waiting
            if isinstance(it.task, BuildTask) and it.task.model == task.model and not it.losses
        ]
        free = sum(max(0, node.slots - self._used(node)) for node in nodes)
        share = math.ceil(len(alike) / max(1, free))
        others = [it for it in alike if it is not first]
        return (first, *others[: min(share, MOST_TOGETHER) - 1])


def _is_own(device: FarmDevice | None) -> bool:
    return device is not None and device.address == LOCAL


def _are_same(one: Place, other: Place) -> bool:
    """Return whether two machines' devices may be the same one: an address means the same to all.

    But for `local`, which is each machine itself.
    """
    (node, device), (other_node, other_device) = one, other
    if device is None or other_device is None or device.address != other_device.address:
        return False
    return device.address != LOCAL or node.id == other_node.id


def _is_of_the_machine(kind: str) -> bool:
    """Return whether an error says something of the machine or the device, not of the task."""
    found = getattr(errors, kind, None) if kind else None
    return isinstance(found, type) and issubclass(
        found, DeviceError | ResourceError | MissingDependencyError
    )


def _given_up(waiting: _Waiting) -> Done:
    """Return the failure of a task; it is the task's own, unless only machines were lost."""
    task, losses = waiting.task, waiting.losses
    lost = {loss.lost for loss in losses}
    if lost == {"memory"}:
        hosts = " and ".join(dict.fromkeys(loss.host for loss in losses))
        return Done(
            key=task.key,
            failed=f"the worker ran out of memory on {hosts} each of {len(losses)} times",
            kind=OutOfMemoryError.__name__,
            hint="Give it a machine with more memory, or one that does fewer tasks at once.",
        )
    counts = Counter(f"{loss.host}: {loss.why}" for loss in losses)
    told = "; ".join(f"{text} ({n} times)" if n > 1 else text for text, n in counts.items())
    kind = ResourceError if lost == {"machine"} else ExportError
    return Done(
        key=task.key,
        failed=f"it was begun {len(losses)} times and lost each time: {told}",
        kind=(OutOfMemoryError if "memory" in lost else kind).__name__,
        hint="`ray status` and the logs of these machines say more; then repeat the command.",
    )
