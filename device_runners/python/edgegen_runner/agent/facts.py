"""What the device is: model, processor, memory, storage, runtimes, temperature."""

from __future__ import annotations

import errno
import grp
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

from ..sensors import raspberry_pi
from ..sensors.control_groups import cpu_quota, memory_limit, usable_cores
from ..sensors.readers import find_sensors, read_all
from ..sensors.reading import parse_number
from .children import run
from .paths import Folders
from .runtimes import runtime_here
from .system_state import read_system_state, read_text

_ROOT = Path("/")
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems without links answer: FAT and exFAT the first."""
_PROGRAMS = ("vcgencmd", "nvpmodel", "tegrastats", "dumpsys", "powermetrics")
_CPU_WORDS = ("cpu", "soc", "tj", "package", "tctl", "x86_pkg_temp", "vcgencmd")
_MOST_KIB = 1 << 50
_LIMITS = (
    *("throttle_flag", "throttle_since_boot", "throttle_count", "thermal_status"),
    *("cooling_state", "speed_limit_percent"),
)
"""The quantities that say whether the device is held back."""


def describe(folders: Folders, root: Path = _ROOT, *, tried: bool = False) -> dict[str, Any]:
    """Return the facts that the host shows and needs; None is what the device does not say.

    What is left of the memory is what is left of a control group's limit, where that is less. With
    ``tried``, the runtime is used once, which takes seconds.
    """
    memory = _memory(root)
    limit = memory_limit(root)
    disk = _disk(folders.root)
    sensors = find_sensors(root)
    values = read_all(sensors)
    return {
        **read_system_state(root),
        "model": _model(root),
        "soc": soc_of(root),
        "npu_nodes": _npu_nodes(root),
        "system": platform.system(),
        "machine": _machine(),
        "processor": _processor(root),
        "cores": usable_cores(),
        "cpu_quota": cpu_quota(root),
        "memory_bytes": memory.get("MemTotal"),
        "memory_limit_bytes": None if limit is None else limit.limit_bytes,
        "available_memory_bytes": _least(
            memory.get("MemAvailable"), None if limit is None else limit.left_bytes
        ),
        "storage_bytes": disk[0],
        "free_bytes": disk[1],
        "root": str(folders.root),
        "root_executes": _executes(folders.root),
        "root_links": _has_links(folders.root),
        "host_name": platform.node(),
        "python": platform.python_version(),
        "glibc": _glibc(),
        "temperature_c": processor_temperature_c(values)[1],
        "sensors": sorted(values),
        "limits": {
            name: value
            for name, value in values.items()
            if value is not None and name.partition(".")[0] in _LIMITS
        },
        "silent": {"vcgencmd": why} if (why := raspberry_pi.silence(root)) is not None else {},
        "programs": [name for name in _PROGRAMS if shutil.which(name)],
        "preload": os.environ.get("LD_PRELOAD") or None,
        "runtime": runtime_here(folders, tried=tried),
    }


def processor_temperature_c(
    values: dict[str, Optional[float]],
) -> tuple[Optional[str], Optional[float]]:
    """Return the sensor that tells the processor's temperature, and its value.

    The hottest of those that name the processor; else the hottest of all.
    """
    known = {
        name: value
        for name, value in values.items()
        if name.startswith("temperature_c.") and value is not None and value > 0
    }
    processor = {
        name: value
        for name, value in known.items()
        if any(word in name.lower() for word in _CPU_WORDS)
    }
    chosen = processor or known
    if not chosen:
        return None, None
    name = max(chosen, key=lambda each: chosen[each])
    return name, chosen[name]


def _model(root: Path) -> Optional[str]:
    board = (
        read_text(root / "proc/device-tree/model")
        or read_text(root / "sys/firmware/devicetree/base/model")  # where the former leads
        or _mac_model()
        or _android_model(root)
    )
    if board:
        return board
    vendor = read_text(root / "sys/class/dmi/id/sys_vendor")
    product = read_text(root / "sys/class/dmi/id/product_name")
    if product:
        return f"{vendor} {product}" if vendor and vendor not in product else product
    return None


def soc_of(root: Path) -> Optional[str]:
    """Return what the chip's maker calls it, where the kernel or Android says: SM8650."""
    said = read_text(root / "sys/devices/soc0/machine")
    getprop = root / "system/bin/getprop"
    if not said and getprop.exists():
        said = _said([str(getprop), "ro.soc.model"])
    return said or None


def _npu_nodes(root: Path) -> list[dict[str, Any]]:
    """Return the device nodes of Qualcomm's NPU, which the kernel's fastrpc driver makes."""
    nodes = []
    for node in sorted((root / "dev").glob("fastrpc-cdsp*")):
        try:
            group = grp.getgrgid(node.stat().st_gid).gr_name
        except (OSError, KeyError):  # it went away, or the group has no name
            group = "root"
        usable = os.access(node, os.R_OK | os.W_OK)
        nodes.append({"path": f"/dev/{node.name}", "group": group, "usable": usable})
    return nodes


def _machine() -> str:
    """Return the machine as its programs see it: a 32-bit system may have a 64-bit kernel."""
    machine = platform.machine()
    return "armv7l" if machine == "aarch64" and sys.maxsize < 1 << 32 else machine


def _mac_model() -> Optional[str]:
    return _said(["/usr/sbin/sysctl", "-n", "hw.model"]) if sys.platform == "darwin" else None


def _android_model(root: Path) -> Optional[str]:
    getprop = root / "system/bin/getprop"
    return _said([str(getprop), "ro.product.model"]) if getprop.exists() else None


def _said(command: list[str]) -> Optional[str]:
    try:
        done = run(command, timeout_s=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip() or None


def _processor(root: Path) -> Optional[str]:
    for line in (read_text(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Hardware") and value.strip():
            return value.strip()
    return platform.processor() or None


def _memory(root: Path) -> dict[str, int]:
    found = {}
    for line in (read_text(root / "proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        kib = parse_number(value.replace("kB", ""))
        if name in ("MemTotal", "MemAvailable") and kib is not None and 0 <= kib < _MOST_KIB:
            found[name] = int(kib) << 10
    if "MemTotal" not in found and sys.platform == "darwin":
        found["MemTotal"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return found


def _least(*sizes: Optional[int]) -> Optional[int]:
    return min((size for size in sizes if size is not None), default=None)


def _disk(folder: Path) -> tuple[Optional[int], Optional[int]]:
    """Return the size of the file system that holds a folder, and what this user may write."""
    try:
        told = os.statvfs(_existing(folder))
    except OSError:
        return None, None
    return told.f_blocks * told.f_frsize, told.f_bavail * told.f_frsize


def _executes(folder: Path) -> bool:
    """Return whether programs and libraries in a folder may be used, as far as the system says."""
    try:
        return not os.statvfs(_existing(folder)).f_flag & getattr(os, "ST_NOEXEC", 0)
    except OSError:
        return True


def _has_links(folder: Path) -> bool:
    """Return whether a folder takes symbolic links; True where that cannot be tried."""
    link = folder / f".link-{os.getpid()}"
    try:
        link.symlink_to("target")
        link.unlink()
    except OSError as error:
        return error.errno not in _NO_LINKS
    return True


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _glibc() -> Optional[list[int]]:
    try:
        words = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        return [int(part) for part in words[1].split(".")[:2]]
    except (AttributeError, ValueError, OSError, IndexError):
        return None
