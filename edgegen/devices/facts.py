"""What a device says of itself, as the agent sends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from edgegen.core.codec import decode
from edgegen.core.errors import ConfigError, DeviceError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFacts:
    """The Python that runs the runner: the command that starts it, and what it has installed.

    `own` says that `edgegen devices setup` made it.
    """

    command: tuple[str, ...]
    python: str
    packages: Mapping[str, str]
    own: bool


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
class DeviceFacts(SystemState):
    """What a device is and has; None where it does not say. Sizes are in bytes."""

    model: str | None
    system: str
    machine: str
    processor: str | None
    cores: int
    memory_bytes: int | None
    available_memory_bytes: int | None
    storage_bytes: int | None
    free_bytes: int | None
    root: str
    host_name: str
    python: str
    glibc: tuple[int, int] | None
    temperature_c: float | None
    sensors: tuple[str, ...]
    programs: tuple[str, ...]
    runtime: RuntimeFacts | None


def read_facts(address: str, answer: Mapping[str, Any]) -> DeviceFacts:
    """Read the agent's answer to `describe`.

    Raises DeviceError where it is something else.
    """
    return _read(DeviceFacts, address, answer)


def read_state(address: str, answer: Mapping[str, Any]) -> SystemState:
    """Read the agent's answer to `state`.

    Raises DeviceError where it is something else.
    """
    return _read(SystemState, address, answer)


def _read(kind: type[T], address: str, answer: Mapping[str, Any]) -> T:
    try:
        return decode(kind, dict(answer), source=f"the answer of {address}")
    except ConfigError as error:
        raise DeviceError(error.message, hint="Its agent is of another edgegen.") from error
