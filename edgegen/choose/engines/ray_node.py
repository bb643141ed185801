"""What runs on the machines of a Ray cluster. Ray starts these functions there, by their names.

Values go to and fro as JSON, files in pieces. A task runs in a worker process of Ray, whose
children end when it does; nothing of Ray is imported here.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgegen.choose.cache import Cache
from edgegen.choose.engines.messages import Answer, Job, Message, Question, making_here, read, write
from edgegen.choose.engines.parcels import PIECE_BYTES, Parcel, Shelf, artifact_of, pack, pieces_of
from edgegen.choose.prepare import place_of_device
from edgegen.choose.tasks import BuildTask, Done, EvaluateTask, MeasureTask, ProbeTask, Task
from edgegen.choose.work import build, evaluate, failed, probe, sustained_key, take_measurement
from edgegen.core.errors import ConfigError, DeviceBusyError, EdgegenError
from edgegen.core.files import inside, sha256_of
from edgegen.core.package import Artifact
from edgegen.core.profile import DeviceProfile
from edgegen.core.progress import SilentProgress
from edgegen.core.regular_files import open_regular
from edgegen.runner.attach import attach

RECEIVED = "received"
"""The folder of the cache with what other machines sent."""

THREADS = "OMP_NUM_THREADS"
_BUSY_S, _BUSY_PAUSE_S = 90.0, 3.0
"""How long a device that somebody uses is waited for: longer than it waits for a dead host."""

Read = Callable[[str, int, int], bytes]
"""Gives a piece of a file of a parcel: by the parcel's id, the file's place in it, the offset."""


class Feeder:
    """Reads files on the machine that asks, for those that work for it. An actor."""

    def __init__(self) -> None:
        self._offered: dict[str, tuple[Path, tuple[str, ...]]] = {}

    def offer(self, identity: str, folder: str, names: tuple[str, ...]) -> None:
        """Let a folder's files be read."""
        self._offered[identity] = (Path(folder), names)

    def read(self, identity: str, number: int, offset: int) -> bytes:
        """Return a piece of a file."""
        folder, names = self._offered[identity]
        with open_regular(folder / names[number]) as file:
            file.seek(offset)
            return file.read(PIECE_BYTES)


def hello(text: str) -> str:
    """Return what this machine has; see `Question` and `Answer`."""
    question = read(Question, text)
    places, lacking = {}, {}
    with own_threads():
        for address in question.addresses:
            try:
                places[address] = _place(address, question.root, question.profile)
            except EdgegenError as error:
                lacking[address] = error.message
    answer = Answer(
        making=making_here(), shares_cache=_sees(question), places=places, lacking=lacking
    )
    return write(answer)


def _place(address: str, root: str | None, profile: DeviceProfile | None) -> Any:
    with attach(address, root) as device:
        return place_of_device(device, root, profile)


def _sees(question: Question) -> bool:
    """Return whether the cache here is the one where the token was put."""
    token = question.token
    try:
        path = inside(Cache().folder, token.name)
        return path.read_text(encoding="utf-8") == token.text
    except (EdgegenError, OSError, UnicodeDecodeError):
        return False


def work(text: str, feed: Read) -> Iterator[str | bytes]:
    """Do a job; yield what is said of it, and the files that were made."""
    job = read(Job, text)
    yield write(Message(kind="begun", at_s=time.time()))
    cache = Cache(fresh=job.fresh)
    left = {task.key: task for task in job.tasks}
    with own_threads():
        try:
            for task, done in _do([_here(task, job, cache, feed) for task in job.tasks], cache):
                if not job.shares_cache:
                    yield from _sent(task, done, cache)
                del left[task.key]
                yield write(Message(kind="done", at_s=time.time(), done=done))
        except EdgegenError as error:
            for key in left:
                done = failed(key, error, 0.0)
                yield write(Message(kind="done", at_s=time.time(), done=done))


def _do(tasks: Iterable[Task], cache: Cache) -> Iterator[tuple[Task, Done]]:
    progress, builds = SilentProgress(), []
    for task in tasks:
        if isinstance(task, BuildTask):
            builds.append(task)
        elif isinstance(task, ProbeTask):
            yield task, probe(task, cache, progress)
        elif isinstance(task, EvaluateTask):
            yield task, evaluate(task, cache, progress)
        else:
            yield task, _measured(task, cache)
    if builds:
        yield from zip(builds, build(builds, cache, progress), strict=True)


def _measured(task: MeasureTask, cache: Cache) -> Done:
    """Measure; a device that is still held for a machine that died becomes free in a minute."""
    until_s = time.monotonic() + _BUSY_S
    while True:
        done = take_measurement(task, cache, SilentProgress())
        if done.kind != DeviceBusyError.__name__ or time.monotonic() > until_s:
            return done
        time.sleep(_BUSY_PAUSE_S)


def _here(task: Task, job: Job, cache: Cache, feed: Read) -> Task:
    """Return a task with paths and addresses of this machine; what it needs is fetched."""
    shelf = Shelf(cache.folder / RECEIVED)
    if not isinstance(task, MeasureTask) and job.model is not None:
        folder = _same_here(job.model) or str(_fetched(job.model, shelf, cache, feed))
        task = replace(task, model=replace(task.model, folder=folder))
    if isinstance(task, EvaluateTask | MeasureTask):
        if job.package_place is not None:
            package = inside(cache.folder, job.package_place)
        elif job.package is not None:
            package = _fetched(job.package, shelf, cache, feed)
        else:
            raise ConfigError("A job came without its package.", hint="Please report it.")
        task = replace(task, package=str(package))
    if isinstance(task, MeasureTask) and job.address is not None:
        task = replace(task, device=job.address, root=job.root)
    return task


def _same_here(parcel: Parcel) -> str | None:
    """Return the sender's folder where it is here, too, with the same bytes in it."""
    folder = Path(parcel.folder)
    return parcel.folder if all(_is_at(file, folder / file.path) for file in parcel.files) else None


def _is_at(file: Artifact, path: Path) -> bool:
    try:
        status = path.stat()
        if status.st_size != file.size_bytes:
            return False
        return _sha256(path, (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)) == file.sha256
    except OSError:
        return False


@functools.cache
def _sha256(path: Path, stamp: tuple[int, ...]) -> str:
    return sha256_of(path)


def _fetched(parcel: Parcel, shelf: Shelf, cache: Cache, feed: Read) -> Path:
    numbers = {file.path: number for number, file in enumerate(parcel.files)}

    def pieces(file: Artifact) -> Iterator[bytes]:
        for offset in range(0, file.size_bytes, PIECE_BYTES):
            yield feed(parcel.id, numbers[file.path], offset)

    with cache.locked(RECEIVED, parcel.id):
        return shelf.lay_out(parcel, pieces)


def _sent(task: Task, done: Done, cache: Cache) -> Iterator[str | bytes]:
    """Yield the files that a task made; those of a package are kept for the next task, too."""
    for folder, file in _made(task, done, cache):
        yield write(Message(kind="file", at_s=time.time(), key=task.key, file=file))
        yield from pieces_of(folder / file.path)
        if isinstance(task, BuildTask):
            Shelf(cache.folder / RECEIVED).keep(file, folder / file.path)


def _made(task: Task, done: Done, cache: Cache) -> Iterator[tuple[Path, Artifact]]:
    if isinstance(task, MeasureTask):
        for key in (task.key, sustained_key(task)):
            path = cache.measurement_place(key)
            if path.is_file():
                yield path.parent, artifact_of(path.parent, path.name)
    elif not done.failed:
        built = isinstance(task, BuildTask)
        folder = (cache.package_place if built else cache.evaluation_place)(task.key)
        yield from ((folder, file) for file in pack(folder).files)


@contextlib.contextmanager
def own_threads() -> Iterator[None]:
    """Take back what Ray says to numerical libraries, which is one thread for each task.

    What the user said, in the environment that Ray was started with, stays.
    """
    said = os.environ.get(THREADS)
    if said is None or THREADS in _first_environment():
        yield
        return
    del os.environ[THREADS]
    try:
        yield
    finally:
        os.environ[THREADS] = said


def _first_environment() -> set[str]:
    """Return the variables that this process began with; none where the system doesn't say."""
    try:
        data = Path("/proc/self/environ").read_bytes()
    except OSError:
        return set()
    return {entry.partition("=")[0] for entry in os.fsdecode(data).split("\0")}
