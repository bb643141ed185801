"""Lets this machine run arm64 programs: qemu-user, registered with the kernel while it is needed.

Two machines are played with it: a board behind sshd (`arm64_root`, `sshd`) and an Android device
(`android_root`). Such a device proves behaviour, never timing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgegen.core.folders import cache_folder
from edgegen.core.process import run

QEMU = "qemu-aarch64-static"
QEMU_CPU = "cortex-a76"
"""A Raspberry Pi 5's. onnxruntime crashes under qemu 7.2 where /proc/cpuinfo and this differ."""

ENTER = Path(__file__).with_name("enter_root.sh")
CPUINFO = Path(__file__).with_name("played") / "cpuinfo_raspberry_pi_5.txt"

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_MAGIC = (
    r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00",
    r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff",
)
"""An aarch64 program's first bytes and which of them count, as qemu's own rules have them."""
_TOOLS = {
    QEMU: "qemu-user-static",
    "unshare": "util-linux",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
}


def needs_emulation() -> None:
    """Fail the test, with the command to type, where this machine cannot play an arm64 device."""
    missing = sorted({package for tool, package in _TOOLS.items() if not shutil.which(tool)})
    if missing:
        pytest.fail(f"For the emulated devices: apt-get install {' '.join(missing)}", pytrace=False)
    if os.geteuid() != 0:
        pytest.fail("The emulated devices need root: chroot, mounts, binfmt_misc.", pytrace=False)


@contextlib.contextmanager
def arm64_programs() -> Iterator[None]:
    """Let the kernel start arm64 programs by qemu, also below a chroot; undone at the end.

    The flags: F opens qemu now, so that it need not be in the chroot, and P keeps a program's own
    argv[0]. A rule of this machine's that has both is used as it is.
    """
    mounted = not (_BINFMT / "register").exists()
    if mounted:
        run(("mount", "-t", "binfmt_misc", "binfmt_misc", str(_BINFMT)), timeout_s=30)
    name = f"edgegen-aarch64-{os.getpid()}"
    ours = not _has_rule()
    try:
        if ours:
            rule = f":{name}:M::{_MAGIC[0]}:{_MAGIC[1]}:{shutil.which(QEMU)}:PF"
            (_BINFMT / "register").write_text(rule)
        yield
    finally:
        if ours:
            (_BINFMT / name).write_text("-1")
        if mounted and {path.name for path in _BINFMT.iterdir()} == {"register", "status"}:
            run(("umount", str(_BINFMT)), timeout_s=30, check=False)


def cached_folder(name: str, key: str) -> Path:
    """Return the place of something that is built once and kept between the test runs."""
    chosen = os.environ.get("EDGEGEN_TEST_CACHE_DIR")
    base = Path(chosen) if chosen else cache_folder() / "tests"
    return base / f"{name}-{key}"


@contextlib.contextmanager
def built_once(place: Path) -> Iterator[Path | None]:
    """Yield an empty folder that becomes `place`, or None where it is there already."""
    if place.is_dir():
        yield None
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent) as temporary:
        staging = Path(temporary) / "root"
        staging.mkdir()
        yield staging
        with contextlib.suppress(FileExistsError):  # another run was faster
            staging.rename(place)


def _has_rule() -> bool:
    for path in _BINFMT.iterdir():
        if path.name in ("register", "status"):
            continue
        words = path.read_text().splitlines()
        flags = next((word.partition(":")[2] for word in words if word.startswith("flags")), "")
        aarch64 = any(word.startswith("magic 7f454c46020101") and "b700" in word for word in words)
        if aarch64 and "enabled" in words and {"P", "F"} <= set(flags.strip()):
            return True
    return False
