"""Puts what a machine of a farm sends into the cache: whole, as it was promised, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgegen.choose.cache import EVALUATION_NAME, SETTING, Cache, Failure
from edgegen.choose.engines.messages import Message, read
from edgegen.choose.engines.parcels import Writing
from edgegen.choose.tasks import BuildTask, Done, MeasureTask, Task
from edgegen.choose.work import known, sustained_key
from edgegen.core import errors
from edgegen.core.errors import ExportError, IntegrityError
from edgegen.core.files import inside, translate_disk_errors
from edgegen.core.package import Artifact
from edgegen.core.scratch import ScratchFolder
from edgegen.core.staging import staged_folder


class Intake:
    """Takes the messages and pieces that a machine sends about its tasks.

    Nothing of what it says is trusted: files belong to one of the tasks, stay in the folder of that
    task and have the promised hash, and figures are read from them again.
    """

    def __init__(self, cache: Cache, tasks: Sequence[Task], *, shares_cache: bool) -> None:
        self._cache = cache
        self._tasks = {task.key: task for task in tasks}
        self._shares_cache = shares_cache
        self._scratch: ScratchFolder | None = None
        self._writing: Writing | None = None
        self.begun_at_s: float | None = None
        self.done_at_s: float | None = None

    def take(self, item: str | bytes) -> Done | None:
        """Take a message or a piece; return what came of a task where that is it.

        Raises IntegrityError and ConfigError for what isn't as it should be.
        """
        if isinstance(item, bytes):
            if self._writing is None:
                raise _out_of_turn("bytes of no file")
            self._writing.take(item)
            self._end_file()
            return None
        if self._writing is not None:
            raise _out_of_turn("a message in the middle of a file")
        message = read(Message, item)
        if message.kind == "begun":
            self.begun_at_s = message.at_s
        elif message.kind == "file" and message.file is not None:
            self._begin_file(self._task(message.key), message.file)
        elif message.kind == "done" and message.done is not None:
            self.done_at_s = message.at_s
            return self._finish(self._task(message.done.key), message.done)
        return None

    def close(self) -> None:
        """Remove what did not become whole."""
        if self._writing is not None:
            self._writing.close()
        if self._scratch is not None:
            self._scratch.close()

    def _task(self, key: str) -> Task:
        if key not in self._tasks:
            raise _out_of_turn("an answer to what it wasn't asked")
        return self._tasks[key]

    def _folder(self, task: Task) -> Path:
        """Return where a task's files are put until they are whole."""
        if self._scratch is None:
            self._scratch = ScratchFolder("intake", roots=[self._cache.folder])
        folder = self._scratch.path / task.key
        folder.mkdir(exist_ok=True)
        return folder

    def _begin_file(self, task: Task, file: Artifact) -> None:
        if isinstance(task, MeasureTask) and file.path not in _measurement_names(task):
            raise _out_of_turn(f"the file {file.path[:80]!r}")
        with translate_disk_errors(self._cache.folder, setting=SETTING):
            self._writing = Writing(inside(self._folder(task), file.path), file)
            self._end_file()

    def _end_file(self) -> None:
        if self._writing is not None and self._writing.is_whole:
            self._writing.finish()
            self._writing = None

    def _finish(self, task: Task, done: Done) -> Done:
        """Put a task's files into the cache, and return what they say."""
        if not self._shares_cache:
            self._put(task, done)
        if done.failed:
            return done
        self._note(task)
        found = known(task, self._cache)
        if found is None or found.failed:
            raise IntegrityError(
                f"What another machine made ({done.place or task.key}) isn't whole.",
                hint="Repeat the command; look at that machine's disk if it comes again.",
            )
        return replace(found, from_cache=done.from_cache, wall_s=done.wall_s)

    def _put(self, task: Task, done: Done) -> None:
        folder, cache = self._folder(task), self._cache
        if isinstance(task, MeasureTask):
            with translate_disk_errors(cache.folder, setting=SETTING):
                cache.measurement_place(task.key).parent.mkdir(parents=True, exist_ok=True)
                for name in _measurement_names(task):
                    if (folder / name).is_file():
                        key = name.removesuffix(".json")
                        (folder / name).replace(cache.measurement_place(key))
        elif not done.failed:
            place = cache.package_place if isinstance(task, BuildTask) else cache.evaluation_place
            with staged_folder(place(task.key), replace=True, setting=SETTING) as staging:
                for entry in folder.iterdir():
                    entry.rename(staging / entry.name)
        elif isinstance(task, BuildTask) and _is_of_the_package(done):
            failure = Failure(kind=done.kind, message=done.failed, hint=done.hint)
            cache.keep_failure(task.key, failure)

    def _note(self, task: Task) -> None:
        """Note that this run made what is in the cache now."""
        cache = self._cache
        if isinstance(task, BuildTask):
            cache.made(cache.package_place(task.key))
        elif isinstance(task, MeasureTask):
            cache.made(cache.measurement_place(task.key))
            cache.made(cache.measurement_place(sustained_key(task)))
        else:
            cache.made(cache.evaluation_place(task.key) / EVALUATION_NAME)


def _measurement_names(task: MeasureTask) -> tuple[str, str]:
    return f"{task.key}.json", f"{sustained_key(task)}.json"


def _is_of_the_package(done: Done) -> bool:
    kind = getattr(errors, done.kind, None) if done.kind else None
    return isinstance(kind, type) and issubclass(kind, ExportError)


def _out_of_turn(what: str) -> IntegrityError:
    return IntegrityError(
        f"Another machine sent {what}.", hint="Repeat the command; report it if it comes again."
    )
