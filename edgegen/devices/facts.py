"""What a device says of itself, as the agent sends it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.core.plausible import check_value
from edgegen.devices.answers import check_path, check_size

_LONGEST_WORD = 4096
_GROUP = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PYTHON = re.compile(r"(\d{1,2})\.(\d{1,3})(?!\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A package that does not work: what was said, and how its process ended.

    `returncode` is None where it did not end.
    """

    package: str
    returncode: int | None
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of using a runtime once: the packages that do not work."""

    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFacts:
    """The Python that runs the runner: the command that starts it, and what it has installed.

    `own` is whether `edgegen devices setup` made it, `bundle` whether from a bundle. `faults` are
    known only where the device was asked to try its packages.
    """

    command: tuple[str, ...]
    python: str
    packages: Mapping[str, str]
    own: bool
    bundle: bool
    faults: tuple[Fault, ...]

    def __post_init__(self) -> None:
        if not all(word.isprintable() and len(word) <= _LONGEST_WORD for word in self.command):
            raise ValueError("the command that starts Python is none")


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemState:
    """The state of a device's system at one moment; None where it does not say.

    `boot_id` changes with each start of the system; `oom_kills` counts the processes that the
    kernel has ended for memory since then.
    """

    operating_system: str
    governor: str | None
    virtual_machine: bool | None
    hypervisor: str | None
    emulated: bool
    load_average: tuple[float, float, float] | None
    boot_id: str | None
    oom_kills: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NpuNode:
    """A device node by which programs reach the NPU; `usable` by the user, or by a `group`."""

    path: str
    group: str
    usable: bool

    def __post_init__(self) -> None:
        check_path(self.path)
        if not _GROUP.fullmatch(self.group):
            raise ValueError("the group of a device node is none")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts(SystemState):
    """What a device is and has; None where it does not say. Sizes are in bytes.

    `cores` are those that a process may use, `cpu_quota` how many cores' time its control groups
    allow, `memory_limit_bytes` what they allow of `memory_bytes`. `limits` are the readings that
    say whether it is held back (`edgegen/core/limits.py`). `silent` are tools that are there
    and do not answer, with the reason.
    `preload` is what LD_PRELOAD holds there. `root_executes` and `root_links` are whether the file
    system of `root` lets programs run and has links. `soc` is the chip's maker's name for it, and
    `npu_nodes` are those of Qualcomm's NPU.
    """

    model: str | None
    system: str
    machine: str
    processor: str | None
    cores: int
    cpu_quota: float | None
    memory_bytes: int | None
    memory_limit_bytes: int | None
    available_memory_bytes: int | None
    storage_bytes: int | None
    free_bytes: int | None
    root: str
    root_executes: bool
    root_links: bool
    host_name: str
    python: str
    glibc: tuple[int, int] | None
    temperature_c: float | None
    sensors: tuple[str, ...]
    limits: Mapping[str, float]
    silent: Mapping[str, str]
    programs: tuple[str, ...]
    preload: str | None
    runtime: RuntimeFacts | None
    soc: str | None = None
    npu_nodes: tuple[NpuNode, ...] = ()

    def __post_init__(self) -> None:
        sizes = ("memory_bytes", "memory_limit_bytes", "available_memory_bytes")
        for name in (*sizes, "storage_bytes", "free_bytes"):
            check_size(name, getattr(self, name))
        check_size("cores", self.cores, least=1)
        for name, value in (*self.limits.items(), ("cpu_quota", self.cpu_quota)):
            check_value(name, value)
        check_path(self.root)
        if not _PYTHON.match(self.python):
            raise ValueError(f"{self.python[:40]!r} is no version of Python")

    @property
    def python_version(self) -> tuple[int, int]:
        """Return the major and the minor version of the Python that the agent runs in."""
        match = _PYTHON.match(self.python)
        assert match is not None  # checked when it was read
        return int(match[1]), int(match[2])
