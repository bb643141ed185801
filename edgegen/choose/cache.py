"""What choices keep, by content: packages, judged pictures, measurements, and what failed.

Everything appears whole or not at all, so a run that is killed loses what it was doing, and no
more. Two runs that want the same thing wait for one another.

    <cache>/choose/packages/<key>/              a package, as `edgegen package` writes it
    <cache>/choose/packages/<key>-<steps>…/     the same files by links, drawing in other steps
    <cache>/choose/packages/<key>.json          why it could not be built
    <cache>/choose/evaluations/<key>/           evaluation.json and its pictures
    <cache>/choose/measurements/<key>.json      raw samples
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.codec import dump_json, load_json
from edgegen.core.errors import ConfigError, EdgegenError
from edgegen.core.evaluation import Evaluation
from edgegen.core.files import translate_disk_errors, write_atomic
from edgegen.core.folders import cache_folder
from edgegen.core.manifest import load_manifest
from edgegen.core.measurement import Measurement
from edgegen.core.package import EVIDENCE_NAME, PackageManifest
from edgegen.core.progress import SilentProgress
from edgegen.packaging.remembered import require_unchanged

EVALUATION_NAME = "evaluation.json"
SETTING = "EDGEGEN_CACHE_DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a package could not be built: the class of the error, and its words."""

    kind: str
    message: str
    hint: str = ""


class Cache:
    """A folder of results. With `fresh` only what this run made is taken."""

    def __init__(self, folder: Path | None = None, *, fresh: bool = False) -> None:
        self.folder = folder or cache_folder() / "choose"
        self.fresh = fresh
        self._made: set[Path] = set()

    def package_place(self, key: str) -> Path:
        """Return where a package is, or goes."""
        return self.folder / "packages" / key

    def package(self, key: str) -> PackageManifest | None:
        """Return the manifest of a package that is there, whole and as it was built."""
        place = self.package_place(key)
        if self._is_stale(place) or not (place / EVIDENCE_NAME).is_file():
            return None
        try:
            manifest = load_manifest(place)
            require_unchanged(place, manifest, SilentProgress())
        except EdgegenError:
            return None
        return manifest

    def failure(self, key: str) -> Failure | None:
        """Return why a package could not be built; None where nobody knows that."""
        place = self._failure_place(key)
        if self._is_stale(place):
            return None
        try:
            return load_json(Failure, place)
        except ConfigError:
            return None

    def keep_failure(self, key: str, failure: Failure) -> None:
        """Write down why a package could not be built."""
        self._write(self._failure_place(key), dump_json(failure))

    def evaluation_place(self, key: str) -> Path:
        """Return the folder of an evaluation and its pictures."""
        return self.folder / "evaluations" / key

    def evaluation(self, key: str) -> Evaluation | None:
        """Return an evaluation that is there."""
        place = self.evaluation_place(key) / EVALUATION_NAME
        if self._is_stale(place):
            return None
        try:
            return load_json(Evaluation, place)
        except ConfigError:
            return None

    def keep_evaluation(self, key: str, evaluation: Evaluation) -> None:
        """Write down an evaluation, beside its pictures."""
        self._write(self.evaluation_place(key) / EVALUATION_NAME, dump_json(evaluation))

    def measurement_place(self, key: str) -> Path:
        """Return the file of a measurement."""
        return self.folder / "measurements" / f"{key}.json"

    def measurement(self, key: str) -> Measurement | None:
        """Return a measurement that is there, and came to its end."""
        place = self.measurement_place(key)
        if self._is_stale(place):
            return None
        try:
            found = load_json(Measurement, place)
        except ConfigError:
            return None
        return found if found.interrupted is None else None

    def keep_measurement(self, key: str, measurement: Measurement) -> None:
        """Write down a measurement."""
        self._write(self.measurement_place(key), dump_json(measurement))

    def made(self, place: Path) -> None:
        """Note that this run made something: it is taken even if all else is to be fresh."""
        self._made.add(place)

    @contextlib.contextmanager
    def locked(self, kind: str, key: str) -> Iterator[None]:
        """Hold the lock of something that is to be made; wait for a run that makes the same."""
        place = self.folder / kind / f".{key}.lock"
        self._make(place.parent)
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _failure_place(self, key: str) -> Path:
        return self.folder / "packages" / f"{key}.json"

    def _is_stale(self, place: Path) -> bool:
        return self.fresh and place not in self._made

    def _write(self, place: Path, text: str) -> None:
        self._make(place.parent)
        write_atomic(place, text, setting=SETTING)
        self.made(place)

    def _make(self, folder: Path) -> None:
        with translate_disk_errors(folder, setting=SETTING):
            folder.mkdir(parents=True, exist_ok=True)
