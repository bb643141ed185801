"""A root with as little in it as Android gives to adb's shell, for arm64 programs under emulation.

    with arm64_programs():
        android = AndroidRoot.make(tmp_path / "android")
        android.run("sh /data/local/tmp/edgegen/runtime/python -c 'print(1)'")
        StandInDevice(storage=android.storage, root=android.root, shell=android.shell, …)

No Python, no glibc, no /bin, no /tmp: a static busybox under the names that toybox has on
Android, `getprop` and `dumpsys` as scripts, and /data/local/tmp.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.process import Completed, run
from edgegen.core.progress import SilentProgress
from edgegen.runner.bundle.debian import PrivateApt, unpack
from edgegen.runner.bundle.facts import load_facts
from tests.devices.emulation import CPUINFO, ENTER, QEMU_CPU, built_once, cached_folder

PLAYED = Path(__file__).with_name("played")
APPLETS = (
    *(
        "sh",
        "awk",
        "basename",
        "cat",
        "chmod",
        "cmp",
        "cp",
        "cut",
        "date",
        "dd",
        "df",
        "dirname",
        "du",
    ),
    *("echo", "env", "expr", "false", "find", "grep", "gunzip", "gzip", "head", "hostname", "id"),
    *("kill", "ln", "ls", "md5sum", "mkdir", "mktemp", "mv", "nohup", "od", "printenv", "printf"),
    *("ps", "pwd", "readlink", "realpath", "rm", "rmdir", "sed", "seq", "sha256sum", "sleep"),
    *("sort", "stat", "sync", "tail", "tar", "tee", "test", "timeout", "touch", "tr", "true"),
    *("uname", "uniq", "wc", "which", "xargs", "zcat"),
)
"""Android 15's toybox (external/toybox, `.config-device`) has these, and its mksh is `sh`."""
ENVIRONMENT = {
    "PATH": "/system/bin",
    "HOME": "/",
    "SHELL": "/system/bin/sh",
    "USER": "shell",
    "ANDROID_ROOT": "/system",
    "ANDROID_DATA": "/data",
    "QEMU_CPU": QEMU_CPU,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AndroidRoot:
    """One such root, in a folder of the test's own.

    `shell` is a command's prefix: it takes one more argument, the command line. Each command has
    its own mounts, which end with it.
    """

    root: Path

    @property
    def storage(self) -> Path:
        """Return the folder that is /data/local/tmp on the device."""
        return self.root / "data/local/tmp"

    @property
    def shell(self) -> tuple[str, ...]:
        """Return the prefix of a command; the caller's environment is not passed on."""
        return (
            *("unshare", "--mount", "--propagation", "private", "--"),
            *(str(ENTER), str(self.root), str(CPUINFO), "/system/bin/env", "-i"),
            *(f"{name}={value}" for name, value in ENVIRONMENT.items()),
            *("/system/bin/sh", "-c"),
        )

    @classmethod
    def make(cls, folder: Path) -> AndroidRoot:
        """Make a root in a new folder."""
        shutil.copytree(_busybox_root(), folder, symlinks=True)
        return cls(root=folder)

    def run(self, command: str, *, timeout_s: float = 120, check: bool = True) -> Completed:
        """Run a command line by the device's shell, and return what it left."""
        return run((*self.shell, command), timeout_s=timeout_s, check=check)


def _busybox_root() -> Path:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(PLAYED.iterdir()):
        digest.update(path.read_bytes())
    place = cached_folder("android-root", digest.hexdigest()[:16])
    with built_once(place) as staging:
        if staging is not None:
            _build(staging)
    return place


def _build(root: Path) -> None:
    programs = root / "system/bin"
    for name in (
        "system/bin",
        "system/etc",
        "data/local/tmp",
        "proc",
        "dev",
        "sys/devices/system/cpu",
    ):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("possible", "present", "online"):
        (root / "sys/devices/system/cpu" / name).write_text("0-3\n")
    with tempfile.TemporaryDirectory(prefix="edgegen-root-") as temporary:
        scratch = Path(temporary)
        apt = PrivateApt(scratch / "apt", load_facts().debian)
        apt.update()
        (scratch / "debs").mkdir()
        unpack(
            apt.download(["busybox-static"], scratch / "debs", SilentProgress()),
            scratch / "unpacked",
        )
        shutil.copyfile(scratch / "unpacked/bin/busybox", programs / "toybox")
    (programs / "toybox").chmod(0o755)
    for applet in APPLETS:
        (programs / applet).symlink_to("toybox")
    for name in ("getprop", "dumpsys"):
        shutil.copyfile(PLAYED / name, programs / name)
        (programs / name).chmod(0o755)
    shutil.copyfile(PLAYED / "build.prop", root / "system/build.prop")
    for name in ("thermalservice.txt", "battery.txt"):
        shutil.copyfile(PLAYED / name, root / "system/etc" / name)
