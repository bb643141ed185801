"""What machines of a farm say to one another: questions, jobs and answers, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from edgegen import __version__
from edgegen.choose.content import code_of, toolkits
from edgegen.choose.engines.parcels import Parcel
from edgegen.choose.prepare import Place
from edgegen.choose.tasks import Done, Task
from edgegen.core.codec import decode, encode
from edgegen.core.package import Artifact
from edgegen.core.profile import DeviceProfile

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """What makes results on a machine. Only machines where it is the same share a cache."""

    version: str
    code: str
    toolkits: Mapping[str, str]

    def difference(self, other: Making) -> str:
        """Return how another machine differs, as the end of a sentence; empty where it doesn't."""
        if other.version != self.version:
            return f"has edgegen {other.version}, and this machine {self.version}"
        if other.code != self.code:
            return f"has another source of edgegen {self.version} than this machine"
        for name in sorted({*self.toolkits, *other.toolkits}):
            here, there = self.toolkits.get(name), other.toolkits.get(name)
            if here != there:
                return f"has {_shown(name, there)}, and this machine {_shown(name, here)}"
        return ""


def making_here() -> Making:
    """Return what makes results on this machine."""
    return Making(
        version=__version__, code=code_of(("",), with_runner=True), toolkits=dict(toolkits())
    )


def _shown(name: str, version: str | None) -> str:
    return f"no {name}" if version is None else f"{name} {version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A file that was put into the cache: who sees it there has the same cache."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Asks a machine what it has, and what the devices at some addresses are."""

    token: Token
    addresses: tuple[str, ...] = ()
    root: str | None = None
    profile: DeviceProfile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a machine has; `places` are its devices by address, `lacking` why one isn't there."""

    making: Making
    shares_cache: bool
    places: Mapping[str, Place] = field(default_factory=dict)
    lacking: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Tasks for a machine, and where it finds what they need.

    With `shares_cache` that is the cache, by paths relative to it; else `package` is sent, and so
    is `model`, unless it ships with edgegen.
    """

    tasks: tuple[Task, ...]
    fresh: bool
    shares_cache: bool
    address: str | None = None
    root: str | None = None
    package_place: str | None = None
    package: Parcel | None = None
    model: Parcel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A line of what a machine says while it works; after `file` come that file's bytes.

    `at_s` is the time there, in seconds since 1970.
    """

    kind: Literal["begun", "file", "done"]
    at_s: float
    key: str = ""
    file: Artifact | None = None
    done: Done | None = None


def write(value: object) -> str:
    """Return a value as text."""
    return json.dumps(encode(value))


def read(cls: type[T], text: str) -> T:
    """Return what a text says. Raises ConfigError for another thing than `cls`."""
    data: Any = json.loads(text)
    return decode(cls, data, source="what another machine said")
