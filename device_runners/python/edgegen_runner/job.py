"""What the runner is asked to do, read strictly: an unknown key is an error that names it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

from .backends import BackendOptions
from .errors import RunnerFailure, nearest
from .request import HIGHEST_SEED, Request
from .residency import RESIDENCIES


@dataclass(frozen=True)
class GenerateJob:
    """Make images: warm-ups, then the prompts, ``repeat`` times or for ``duration_s``."""

    package: Path
    request: Request = field(default_factory=Request)
    output: Optional[Path] = None
    file_names: Optional[tuple[str, ...]] = None
    save_trajectory: Optional[Path] = None
    residency: str = "all"
    warmup_images: int = 0
    repeat: int = 1
    duration_s: Optional[float] = None
    backend: BackendOptions = field(default_factory=BackendOptions)
    sensor_interval_s: Optional[float] = None
    measure_memory: bool = False
    verify: bool = False


@dataclass(frozen=True)
class ProbeJob:
    """Run one component on ``.npy`` files."""

    package: Path
    component: str
    inputs: Path
    outputs: Path
    backend: BackendOptions = field(default_factory=BackendOptions)


@dataclass(frozen=True)
class GoldenJob:
    """Run the package's golden case."""

    package: Path
    residency: str = "all"
    backend: BackendOptions = field(default_factory=BackendOptions)
    verify: bool = False


@dataclass(frozen=True)
class DescribeJob:
    """Say what this machine is."""

    backend: BackendOptions = field(default_factory=BackendOptions)


Job = Union[GenerateJob, ProbeJob, GoldenJob, DescribeJob]


def parse_job(line: bytes) -> Job:
    """Read a job from one line of JSON.

    Raises RunnerFailure (bad-request) that names the key which is unknown, missing or wrong.
    """
    try:
        data = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RunnerFailure("bad-request", f"The job is not JSON: {error}.") from error
    if not isinstance(data, dict):
        raise RunnerFailure("bad-request", "The job is no JSON object.")
    job = _Table(data, "the job")
    command = job.choice("command", ("generate", "probe", "golden", "describe"))
    if command == "generate":
        return _read_generate(job)
    result: Job
    if command == "probe":
        result = ProbeJob(
            package=job.path("package"),
            component=job.text("component"),
            inputs=job.path("inputs"),
            outputs=job.path("outputs"),
            backend=_read_backend(job),
        )
    elif command == "golden":
        result = GoldenJob(
            package=job.path("package"),
            residency=job.choice("residency", RESIDENCIES, "all"),
            backend=_read_backend(job),
            verify=job.truth("verify"),
        )
    else:
        result = DescribeJob(backend=_read_backend(job))
    job.done()
    return result


def _read_generate(job: _Table) -> GenerateJob:
    sensors = job.table("sensors", None)
    interval_s = None
    if sensors is not None:
        interval_s = sensors.number("interval_s", above=0, default=1.0)
        sensors.done()
    result = GenerateJob(
        package=job.path("package"),
        request=_read_request(job.table("request", {})),
        output=job.optional_path("output"),
        file_names=job.texts("file_names"),
        save_trajectory=job.optional_path("save_trajectory"),
        residency=job.choice("residency", RESIDENCIES, "all"),
        warmup_images=job.whole("warmup_images", least=0, default=0) or 0,
        repeat=job.whole("repeat", least=1, default=1) or 1,
        duration_s=job.number("duration_s", above=0),
        backend=_read_backend(job),
        sensor_interval_s=interval_s,
        measure_memory=job.truth("measure_memory"),
        verify=job.truth("verify"),
    )
    job.done()
    for name in result.file_names or ():
        if not name or name != Path(name).name or name.startswith("."):
            raise RunnerFailure("bad-request", f"{name!r} is no plain file name.")
    return result


def _read_request(table: Optional[_Table]) -> Request:
    if table is None:
        return Request()
    request = Request(
        prompts=table.texts("prompts"),
        negative_prompt=table.optional_text("negative_prompt"),
        steps=table.whole("steps", least=1),
        guidance=table.number("guidance"),
        guidance_rescale=table.number("guidance_rescale", least=0, most=1, default=0.0) or 0.0,
        guidance_batch=table.whole("guidance_batch", least=1, most=2, default=2) or 2,
        eta=table.number("eta", least=0, default=0.0) or 0.0,
        scheduler=table.optional_text("scheduler"),
        seed=table.whole("seed", least=0, most=HIGHEST_SEED, default=0) or 0,
        count=table.whole("count", least=1, default=1) or 1,
        width=table.whole("width", least=1),
        height=table.whole("height", least=1),
        image=table.optional_path("image"),
        mask=table.optional_path("mask"),
        strength=table.number("strength", least=0, most=1),
        latents=table.optional_path("latents"),
    )
    table.done()
    return request


def _read_backend(job: _Table) -> BackendOptions:
    table = job.table("backend", {})
    if table is None:
        return BackendOptions()
    options = BackendOptions(
        name=table.text("name", "onnxruntime"),
        providers=table.texts("providers") or (),
        threads=table.whole("threads", least=1),
        memory=table.choice("memory", ("auto", "lean", "fast"), "auto"),
    )
    table.done()
    return options


_MISSING = object()


class _Table:
    """A JSON object whose keys are taken one by one; what is left is unknown."""

    def __init__(self, data: Mapping[str, Any], at: str) -> None:
        self._data = dict(data)
        self._known: list[str] = []
        self._at = at

    def done(self) -> None:
        for key in self._data:
            raise RunnerFailure(
                "bad-request", f"Unknown key {key!r} in {self._at}.", nearest(key, self._known)
            )

    def _take(self, key: str, default: Any = None) -> Any:
        self._known.append(key)
        value = self._data.pop(key, _MISSING)
        if value is _MISSING or value is None:
            if default is _MISSING:
                raise RunnerFailure("bad-request", f"{key!r} is missing in {self._at}.")
            return default
        return value

    def _refuse(self, key: str, value: Any, wanted: str) -> RunnerFailure:
        return RunnerFailure("bad-request", f"{key!r} in {self._at} is {value!r}, not {wanted}.")

    def text(self, key: str, default: Any = _MISSING) -> str:
        value = self._take(key, default)
        if not isinstance(value, str) or not value:
            raise self._refuse(key, value, "a text")
        return value

    def optional_text(self, key: str) -> Optional[str]:
        value = self._take(key)
        if value is not None and not isinstance(value, str):
            raise self._refuse(key, value, "a text")
        return value

    def texts(self, key: str) -> Optional[tuple[str, ...]]:
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
            raise self._refuse(key, value, "a list of texts")
        return tuple(value)

    def path(self, key: str) -> Path:
        return Path(self.text(key))

    def optional_path(self, key: str) -> Optional[Path]:
        value = self.optional_text(key)
        if value == "":
            raise self._refuse(key, value, "a path")
        return None if value is None else Path(value)

    def choice(self, key: str, choices: tuple[str, ...], default: Any = _MISSING) -> str:
        value = self._take(key, default)
        if value not in choices:
            raise RunnerFailure(
                "bad-request", f"{key!r} in {self._at} is {value!r}.", nearest(str(value), choices)
            )
        return str(value)

    def truth(self, key: str) -> bool:
        value = self._take(key, False)
        if not isinstance(value, bool):
            raise self._refuse(key, value, "true or false")
        return value

    def whole(
        self, key: str, *, least: int, most: Optional[int] = None, default: Optional[int] = None
    ) -> Optional[int]:
        value = self._take(key, default)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._refuse(key, value, "a whole number")
        if value < least or (most is not None and value > most):
            limit = f"at least {least}" if most is None else f"between {least} and {most}"
            raise self._refuse(key, value, limit)
        return value

    def number(
        self,
        key: str,
        *,
        least: Optional[float] = None,
        above: Optional[float] = None,
        most: Optional[float] = None,
        default: Optional[float] = None,
    ) -> Optional[float]:
        value = self._take(key, default)
        if value is None:
            return None
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self._refuse(key, value, "a number")
        if not math.isfinite(value):
            raise self._refuse(key, value, "a finite number")
        if least is not None and value < least:
            raise self._refuse(key, value, f"at least {least}")
        if above is not None and value <= above:
            raise self._refuse(key, value, f"above {above}")
        if most is not None and value > most:
            raise self._refuse(key, value, f"at most {most}")
        return float(value)

    def table(self, key: str, default: Optional[Mapping[str, Any]]) -> Optional[_Table]:
        value = self._take(key, default)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._refuse(key, value, "an object")
        return _Table(value, key)
