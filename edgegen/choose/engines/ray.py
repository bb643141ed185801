"""Does the work on the machines of a Ray cluster; devices that are attached to them measure.

The search, the cache and the answer stay here. A machine that is lost in the middle of a task is no
failure of the task: another one does it (docs/decisions/0060-a-farm-is-a-ray-cluster.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from edgegen.choose.cache import Cache
from edgegen.choose.engines.farm import Assignment, Dispatch
from edgegen.choose.engines.intake import Intake
from edgegen.choose.engines.jobs_for_nodes import NodeJobs
from edgegen.choose.engines.members import Members
from edgegen.choose.engines.messages import write
from edgegen.choose.engines.ray_cluster import Cluster, Ended, Event, RayCluster
from edgegen.choose.prepare import Place
from edgegen.choose.tasks import Done, MeasureTask, Task
from edgegen.choose.work import known
from edgegen.core.errors import DeviceUnreachableError, EdgegenError, ResourceError
from edgegen.core.profile import DeviceProfile
from edgegen.core.progress import Progress

_WAIT_S = 1.0
_HOMELESS_S = 30.0
"""How long work waits for a machine that could do it, before it counts as lost."""


@dataclass(kw_only=True)
class Span:
    """When a machine worked on tasks, by its own clock; `ended_at_s` is None where it was lost."""

    host: str
    node: str
    device: str | None
    keys: tuple[str, ...]
    begun_at_s: float | None = None
    ended_at_s: float | None = None
    why_lost: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Doing:
    assignment: Assignment
    intake: Intake
    span: Span


class RayEngine:
    """An engine whose machines are those of a Ray cluster that runs already.

    `connects` gives the cluster at an address. Raises what `ray_cluster.connect` does, and
    ResourceError where no machine takes part.
    """

    def __init__(
        self,
        cache: Cache,
        progress: Progress,
        *,
        address: str | None = None,
        connects: Callable[[str | None], Cluster] = RayCluster,
    ) -> None:
        self.progress = progress
        self.spans: list[Span] = []
        self._cache = cache
        self._address = address
        self._connects = connects
        self._dispatch = Dispatch()
        self._doing: dict[int, _Doing] = {}
        self._ready: list[Done] = []
        self._homeless_since_s: float | None = None

    def __enter__(self) -> Self:
        self._cluster = self._connects(self._address)
        self._members = Members(self._cluster, self._cache)
        self._jobs = NodeJobs(self._cluster, self._cache)
        try:
            with self.progress.step("the machines of the Ray cluster"):
                self._members.wait()
            self._members.require_some()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what runs, and leave nothing half done."""
        try:
            self._cluster.close()
        finally:
            for doing in self._doing.values():
                doing.intake.close()
            self._members.close()

    @property
    def room(self) -> int:
        """Return how many tasks are done at once: builds, and measurements of attached devices."""
        return max(1, self._members.room)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return which machines and devices take no part, which were lost, and why."""
        return tuple(self._members.warnings)

    def place(self, name: str, root: str | None, profile: DeviceProfile | None) -> Place:
        """Return what the devices called `name` are; from now on they measure.

        Raises ConfigError where no machine has one, or where they aren't alike, and
        DeviceUnreachableError where none of them answers.
        """
        with self.progress.step(f"the devices called {name}"):
            return self._members.place(name, root, profile)

    def submit(self, tasks: Sequence[Task]) -> None:
        """Take tasks; what is in the cache already isn't done again."""
        for task in tasks:
            done = known(task, self._cache)
            if done is None:
                self._dispatch.add([task])
            else:
                self._ready.append(done)

    def completed(self) -> Iterator[Done]:
        """Wait until at least one task is done, and yield what is.

        Raises ResourceError where no machine is left.
        """
        while not self._ready and (self._dispatch.waiting or self._doing):
            self._begin()
            self._give_up_homeless()
            for number, event in self._cluster.events(_WAIT_S):
                if not self._members.hear(number, event):
                    self._hear(number, event)
        ready, self._ready = self._ready, []
        yield from ready

    def _begin(self) -> None:
        """Give waiting tasks to machines that are free."""
        self._members.look()
        for assignment in self._dispatch.assign(self._members.nodes):
            shares_cache = self._members.shares_cache(assignment.node)
            job = self._jobs.job(assignment, shares_cache=shares_cache, root=self._members.root)
            number = self._cluster.start(assignment.node, write(job), assignment.resources)
            device = assignment.device
            span = Span(
                host=assignment.node.host,
                node=assignment.node.id,
                device=None if device is None else device.address,
                keys=tuple(task.key for task in assignment.tasks),
            )
            intake = Intake(self._cache, assignment.tasks, shares_cache=shares_cache)
            self._doing[number] = _Doing(assignment=assignment, intake=intake, span=span)
            self.spans.append(span)

    def _hear(self, number: int, event: Event) -> None:
        doing = self._doing.get(number)
        if doing is None:
            return  # of something that was cancelled
        if isinstance(event, Ended):
            self._end(number, doing, event)
            return
        try:
            done = doing.intake.take(event)
        except ResourceError:  # of this machine
            raise
        except EdgegenError as error:
            self._cluster.cancel(number)
            self._end(number, doing, Ended(why=error.message))
            return
        doing.span.begun_at_s = doing.intake.begun_at_s
        if done is not None:
            doing.span.ended_at_s = doing.intake.done_at_s
            answer = self._dispatch.answered(doing.assignment, done, self._members.nodes)
            if answer is not None:
                self._ready.append(answer)

    def _end(self, number: int, doing: _Doing, ended: Ended) -> None:
        del self._doing[number]
        doing.intake.close()
        given_up = self._dispatch.ended(doing.assignment, ended.why, ended.lost)
        if ended.why:
            doing.span.why_lost = ended.why
            doing.span.ended_at_s = None
            then = "is given up" if given_up else "was begun again"
            self._members.doubt(doing.assignment.node, f"{ended.why}. What it did {then}")
        self._ready += given_up

    def _give_up_homeless(self) -> None:
        """Give up what no machine can do, if none comes back in a while."""
        homeless = self._dispatch.homeless(self._members.nodes)
        if not homeless or self._members.is_asking:
            self._homeless_since_s = None
            return
        now_s = time.monotonic()
        self._homeless_since_s = self._homeless_since_s or now_s
        if now_s - self._homeless_since_s < _HOMELESS_S:
            return
        for task in homeless:
            if not isinstance(task, MeasureTask):
                raise ResourceError(
                    "No machine of the Ray cluster is left that could go on.",
                    hint="Look at `ray status`. What was made is kept: repeat the command.",
                )
            self._dispatch.give_up(task)
            self._ready.append(_no_device(task))


def _no_device(task: MeasureTask) -> Done:
    return Done(
        key=task.key,
        failed=f"no machine of the cluster has the device '{task.device}' any more",
        kind=DeviceUnreachableError.__name__,
        hint="Look at its machine: `ray status`. What was made is kept: repeat the command.",
    )
