"""Reads what a Linux device says of itself: what makes two measurements comparable, or not.

Sources: Documentation/admin-guide/pm/cpufreq.rst (governor), Documentation/filesystems/proc.rst
(loadavg), Documentation/ABI/testing/sysfs-firmware-dmi and the flag `hypervisor` of /proc/cpuinfo
(X86_FEATURE_HYPERVISOR) in the Linux kernel.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemState:
    """The state of a system at one moment; None where it does not say."""

    operating_system: str
    governor: str | None
    virtual_machine: bool | None
    hypervisor: str | None
    emulated: bool
    load_average: tuple[float, float, float] | None


def read_system_state(root: Path = Path("/"), *, machine: str | None = None) -> SystemState:
    """Read the state of this system from `/proc` and `/sys` below `root`."""
    machine = machine or platform.machine()
    processor = _read(root / "proc/cpuinfo") or ""
    hypervisor = _hypervisor(root)
    virtual: bool | None = None
    if hypervisor or " hypervisor" in processor:
        virtual = True
    elif processor and machine.lower() in _X86_MACHINES:
        virtual = False  # the flag is there on x86 alone: elsewhere its absence says nothing
    return SystemState(
        operating_system=_operating_system(root),
        governor=_read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        virtual_machine=virtual,
        hypervisor=hypervisor,
        emulated=_is_emulated(machine, processor),
        load_average=_load_average(root),
    )


def _operating_system(root: Path) -> str:
    for line in (_read(root / "etc/os-release") or "").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return f"{value.strip(chr(34))}, {platform.system()} {platform.release()}"
    return f"{platform.system()} {platform.release()}"


def _hypervisor(root: Path) -> str | None:
    kind = _read(root / "sys/hypervisor/type")
    if kind:
        return kind.capitalize()
    tree = _read(root / "proc/device-tree/hypervisor/compatible")
    if tree:
        return tree.split("\0")[0]
    vendor = (_read(root / "sys/class/dmi/id/sys_vendor") or "").lower()
    product = (_read(root / "sys/class/dmi/id/product_name") or "").lower()
    for word, name in _HYPERVISOR_VENDORS.items():
        if vendor.startswith(word):
            if word == "microsoft corporation" and "virtual" not in product:
                continue  # a Surface, which is no virtual machine
            if word == "google" and "compute engine" not in product:
                continue  # a Chromebook
            return name
    return None


def _is_emulated(machine: str, processor: str) -> bool:
    """Say whether the machine's word and the processor's own disagree, as under qemu-user."""
    if not processor:
        return False
    says_x86 = "vendor_id" in processor and "model name" in processor
    return says_x86 and machine.lower().startswith(("aarch64", "arm", "riscv"))


def _load_average(root: Path) -> tuple[float, float, float] | None:
    words = (_read(root / "proc/loadavg") or "").split()
    try:
        one, five, fifteen = (float(word) for word in words[:3])
    except ValueError:
        return None
    return one, five, fifteen


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None
