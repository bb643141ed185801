"""Looks at the machine: processor, memory, disk, pressure, sensors, and the hub's settings."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgegen.core.errors import DeviceError
from edgegen.core.folders import cache_folder
from edgegen.core.units import format_bytes
from edgegen.devices.control_groups import cpu_quota
from edgegen.devices.host import is_virtual, read_cpu_info, read_memory, usable_cores
from edgegen.devices.sensors import MEASURES, SENSOR_KINDS, sensors_here
from edgegen.doctor.checks import Check

CPU_FEATURES = (
    *("avx2", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_bf16", "amx_int8", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
"""Flags of /proc/cpuinfo that decide how fast a network runs; x86's first, then Arm's."""

_FULL_SIZE_BYTES = 10**10


def check_machine(root: Path = Path("/")) -> Iterator[Check]:
    """Look at the processor and the memory. `root` is where /proc and /sys are."""
    group = "machine"
    cpu = read_cpu_info(root)
    flags = set(f"{cpu.get('flags', '')} {cpu.get('Features', '')}".split())
    features = [name for name in CPU_FEATURES if name in flags]
    chip = cpu.get("model name") or platform.processor() or platform.machine()
    yield Check(group=group, name="system", status="ok", found=platform.platform())
    yield Check(group=group, name="processor", status="ok", found=f"{usable_cores()} × {chip}")
    yield Check(
        group=group, name="features", status="ok", found=", ".join(features) or "none that matter"
    )
    quota = cpu_quota(root)
    yield Check(
        group=group,
        name="CPU quota",
        status="ok" if quota is None else "note",
        found="none" if quota is None else f"{quota:g} cores' time, by a control group",
    )
    if is_virtual(root, cpu):
        found = "yes: no sensors, and neighbours disturb what is measured"
        yield Check(group=group, name="virtual machine", status="note", found=found)
    try:
        memory = read_memory(root)
    except DeviceError as error:
        yield Check(
            group=group, name="memory", status="note", found=error.message, remedy=error.hint
        )
        return
    found = f"{format_bytes(memory.usable_bytes)} free of {format_bytes(memory.total_bytes)}"
    yield Check(group=group, name="memory", status="ok", found=found)
    limit = memory.limit_bytes
    yield Check(
        group=group,
        name="memory limit",
        status="ok" if limit is None else "note",
        found="none" if limit is None else f"{format_bytes(limit)}, by a control group",
    )
    pressure = (root / "proc/pressure/memory").exists()
    yield Check(
        group=group,
        name="pressure",
        status="ok" if pressure else "note",
        found="/proc/pressure is there" if pressure else "the kernel does not tell it",
    )


def check_disk() -> Iterator[Check]:
    """Look at the space where edgegen writes."""
    places = (
        ("cache", cache_folder()),
        ("temporary files", Path(tempfile.gettempdir())),
        ("this folder", Path.cwd()),
    )
    for name, folder in places:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free
        yield Check(
            group="disk",
            name=name,
            status="ok" if free > _FULL_SIZE_BYTES else "note",
            found=f"{format_bytes(free)} free, {folder}",
            remedy="" if free > _FULL_SIZE_BYTES else "A full-size model needs about 10 GB.",
        )


def check_hub() -> Iterator[Check]:
    """Look at the hub's settings; nothing is asked of the network, and no token is shown."""
    environment = os.environ
    xdg = environment.get("XDG_CACHE_HOME") or "~/.cache"
    home = Path(environment.get("HF_HOME") or f"{xdg}/huggingface").expanduser()
    cache = Path(environment.get("HF_HUB_CACHE") or home / "hub").expanduser()
    token_file = Path(environment.get("HF_TOKEN_PATH") or home / "token").expanduser()
    group = "hub"
    logged_in = bool(environment.get("HF_TOKEN")) or token_file.is_file()
    yield Check(
        group=group,
        name="login",
        status="ok" if logged_in else "note",
        found="a token is there" if logged_in else "no token; gated models need one",
        remedy="" if logged_in else "hf auth login",
    )
    models = len(list(cache.glob("models--*"))) if cache.is_dir() else 0
    yield Check(group=group, name="cache", status="ok", found=f"{models} models, {cache}")
    endpoint = environment.get("HF_ENDPOINT")
    if endpoint:
        yield Check(group=group, name="endpoint", status="note", found=endpoint)
    offline = environment.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    yield Check(
        group=group,
        name="network",
        status="note" if offline else "ok",
        found="off, by HF_HUB_OFFLINE" if offline else "used when a model is not in the cache",
    )


def check_telemetry() -> Iterator[Check]:
    """Look at the switches of others' telemetry; edgegen has none of its own, and sets them."""
    for name in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"):
        is_off = os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")
        yield Check(
            group="telemetry",
            name=name,
            status="ok" if is_off else "note",
            found="set: nothing is sent" if is_off else "not set: the library may send something",
            remedy="" if is_off else f"export {name}=1",
        )


def check_sensors(root: Path = Path("/")) -> Iterator[Check]:
    """Look for the sensors that this user may read; each is optional."""
    here = sensors_here(root)
    for name in here:
        found = SENSOR_KINDS[name].description
        yield Check(group="sensors", name=name, status="ok", found=found)
    for measure, kinds in MEASURES.items():
        if not kinds & set(here):
            found = "no sensor: measurements will not tell it"
            yield Check(group="sensors", name=measure, status="note", found=found)
    if "rapl" not in here and any(root.glob("sys/class/powercap/intel-rapl:*")):
        yield Check(
            group="sensors",
            name="rapl",
            status="note",
            found="energy counters are there, but root alone reads them",
            remedy="sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj",
        )
