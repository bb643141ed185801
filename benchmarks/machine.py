"""What a benchmark's result says of the machine, and of the state that it was in."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from edgegen.devices.host import read_cpu_info, read_memory, usable_cores
from edgegen.runner.attach import attach


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine that a benchmark ran on; `load_average` is that of the minute before it."""

    processor: str
    cores: int
    memory_bytes: int
    operating_system: str
    python: str
    virtual_machine: bool | None
    load_average: float | None

    def describe(self) -> str:
        """Return it as one line, with what else it did."""
        load = "unknown" if self.load_average is None else f"{self.load_average:.1f}"
        return f"{self.name()}, load average {load} before it began"

    def name(self) -> str:
        """Return what it is, for results that do not depend on what else it did."""
        return (
            f"{self.cores} × {self.processor}{', virtual' if self.virtual_machine else ''}, "
            f"{self.memory_bytes / 1e9:.0f} GB, {self.operating_system}, Python {self.python}"
        )


def read_machine() -> Machine:
    """Return what this machine is, now."""
    with attach("local") as device:
        state = device.state()
    return Machine(
        processor=read_cpu_info().get("model name") or platform.machine(),
        cores=usable_cores(),
        memory_bytes=read_memory().total_bytes,
        operating_system=state.operating_system,
        python=platform.python_version(),
        virtual_machine=state.virtual_machine,
        load_average=None if state.load_average is None else state.load_average[0],
    )
