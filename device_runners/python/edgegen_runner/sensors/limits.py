"""What caps a Linux system beyond heat: its settings of the clock, and a control group's quota."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from .control_groups import throttling
from .linux import is_android
from .reading import Read, Values, number, sorted_paths, text

_DYNAMIC_DRIVERS = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")
"""Drivers under which the governor ``powersave`` chooses the clock by the load; elsewhere it
keeps the lowest one. Documentation/admin-guide/pm/{cpufreq,intel_pstate,amd-pstate}.rst."""


def clock_limit(root: Path) -> Optional[Read]:
    """How much of its highest clock the processor may use now: ``speed_limit_percent.cpufreq``.

    Of several clusters, the one that is capped most. Governors, power modes, firmware and the
    kernel's cooling all act by this limit. Not on Android, whose services raise and lower it as
    they like.
    """
    if is_android(root):
        return None
    policies = [
        (policy, highest)
        for policy in sorted_paths(root / "sys/devices/system/cpu/cpufreq", "policy*")
        if (highest := number(policy / "cpuinfo_max_freq")) is not None and highest > 0
    ]
    if not policies:
        return None

    def read() -> Values:
        shares = [
            100 * allowed / highest
            for policy, highest in policies
            if (allowed := _allowed(policy)) is not None
        ]
        return {"speed_limit_percent.cpufreq": min(shares) if shares else None}

    return read


def control_group(root: Path) -> Optional[Read]:
    """What keeping to a CPU quota took: ``throttle_count.cgroup``, of ``period_count.cgroup``.

    ``throttled_s.cgroup`` is how long its threads have waited, together.
    """
    if throttling(root) is None:
        return None

    def read() -> Values:
        told = throttling(root)
        return {
            "throttle_count.cgroup": None if told is None else told.throttled_periods,
            "period_count.cgroup": None if told is None else told.periods,
            "throttled_s.cgroup": None if told is None else told.throttled_s,
        }

    return read


def _allowed(policy: Path) -> Optional[float]:
    """Return the highest clock that a policy's governor and limits allow, in kHz."""
    governor = text(policy / "scaling_governor")
    is_dynamic = text(policy / "scaling_driver") in _DYNAMIC_DRIVERS
    if governor == "powersave" and not is_dynamic:
        return number(policy / "scaling_min_freq")
    limits = [number(policy / "scaling_max_freq"), number(policy / "bios_limit")]
    if governor == "userspace":
        limits.append(number(policy / "scaling_setspeed"))
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None
