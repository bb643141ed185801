"""Everything that the doctor looks at, in one pass."""

from __future__ import annotations

from edgegen.core.targets import load_targets
from edgegen.doctor.checks import Check
from edgegen.doctor.software import check_npu, check_programs, check_python, check_targets
from edgegen.doctor.system import (
    check_disk,
    check_hub,
    check_machine,
    check_sensors,
    check_telemetry,
)


def diagnose() -> tuple[Check, ...]:
    """Look at this machine and return what was found, in the order of reading."""
    return (
        *check_python(),
        *check_targets(load_targets()),
        *check_npu(),
        *check_programs(),
        *check_machine(),
        *check_disk(),
        *check_hub(),
        *check_telemetry(),
        *check_sensors(),
    )
