"""What a system says of itself: what makes two measurements comparable, or not.

Sources: Documentation/admin-guide/pm/cpufreq.rst (governor), Documentation/filesystems/proc.rst
(loadavg, oom_kill in vmstat), Documentation/ABI/testing/sysfs-firmware-dmi and the flag
``hypervisor`` of /proc/cpuinfo (X86_FEATURE_HYPERVISOR) in the Linux kernel.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any, Optional

from ..emulation import is_emulated
from ..sensors.reading import parse_number

_ROOT = Path("/")
_HYPERVISOR_VENDORS = {
    "amazon ec2": "Amazon EC2",
    "bochs": "Bochs",
    "google": "Google Compute Engine",
    "innotek gmbh": "VirtualBox",
    "microsoft corporation": "Hyper-V",
    "parallels": "Parallels",
    "qemu": "QEMU",
    "vmware": "VMware",
    "xen": "Xen",
}
_X86_MACHINES = ("x86_64", "amd64", "i686", "i386")


def read_system_state(root: Path = _ROOT, *, machine: Optional[str] = None) -> dict[str, Any]:
    """Read the state of this system from ``/proc`` and ``/sys`` below ``root``.

    What the system does not say is None.
    """
    machine = machine or platform.machine()
    processor = read_text(root / "proc/cpuinfo") or ""
    hypervisor = _hypervisor(root)
    virtual: Optional[bool] = None
    if hypervisor or " hypervisor" in processor:
        virtual = True
    elif processor and machine.lower() in _X86_MACHINES:
        virtual = False  # the flag is there on x86 alone: elsewhere its absence says nothing
    return {
        "operating_system": _operating_system(root),
        "governor": read_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "virtual_machine": virtual,
        "hypervisor": hypervisor,
        "emulated": is_emulated() or _says_another_machine(machine, processor),
        "load_average": _load_average(root),
        "boot_id": read_text(root / "proc/sys/kernel/random/boot_id"),
        "oom_kills": _oom_kills(root),
    }


def read_text(path: Path) -> Optional[str]:
    """Return a small file's text without its ends; None where it is empty or not for us."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \t\r\n") or None
    except OSError:
        return None


def _operating_system(root: Path) -> str:
    for line in (read_text(root / "etc/os-release") or "").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return f"{value.strip(chr(34))}, {platform.system()} {platform.release()}"
    android = read_text(root / "system/build.prop") or ""
    for line in android.splitlines():
        name, _, value = line.partition("=")
        if name == "ro.build.version.release":
            return f"Android {value}, Linux {platform.release()}"
    return f"{platform.system()} {platform.release()}"


def _hypervisor(root: Path) -> Optional[str]:
    kind = read_text(root / "sys/hypervisor/type")
    if kind:
        return kind.capitalize()
    tree = read_text(root / "proc/device-tree/hypervisor/compatible")
    if tree:
        return tree.split("\0")[0]
    vendor = (read_text(root / "sys/class/dmi/id/sys_vendor") or "").lower()
    product = (read_text(root / "sys/class/dmi/id/product_name") or "").lower()
    for word, name in _HYPERVISOR_VENDORS.items():
        if vendor.startswith(word):
            if word == "microsoft corporation" and "virtual" not in product:
                continue  # a Surface, which is no virtual machine
            if word == "google" and "compute engine" not in product:
                continue  # a Chromebook
            return name
    return None


def _says_another_machine(machine: str, processor: str) -> bool:
    """Say whether the machine's word and the processor's own disagree, as under qemu-user."""
    says_x86 = "vendor_id" in processor and "model name" in processor
    return says_x86 and machine.lower().startswith(("aarch64", "arm", "riscv"))


def _load_average(root: Path) -> Optional[list[float]]:
    words = (read_text(root / "proc/loadavg") or "").split()
    known = [load for word in words[:3] if (load := parse_number(word)) is not None]
    return known if len(known) == 3 else None


def _oom_kills(root: Path) -> Optional[int]:
    """Return how many processes the kernel has killed for memory since it started (Linux 4.13)."""
    for line in (read_text(root / "proc/vmstat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            count = parse_number(value)
            return None if count is None else int(count)
    return None
