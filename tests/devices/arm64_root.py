"""A root of arm64 Debian that plays a Raspberry Pi 5: built once, in less than a minute.

The packages are unpacked, nothing of theirs is run: debootstrap's second stage takes a quarter of
an hour under emulation. What their scripts would have made, and the tests need, is made here.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgegen.core.progress import SilentProgress
from edgegen.runner.bundle.debian import PrivateApt, unpack
from edgegen.runner.bundle.facts import load_facts
from tests.devices.emulation import built_once, cached_folder

MODEL = "Raspberry Pi 5 Model B Rev 1.0"
PACKAGES = (
    *("base-files", "base-passwd", "bash", "coreutils", "dash", "findutils", "grep", "gzip"),
    *(
        "hostname",
        "libc-bin",
        "libstdc++6",
        "procps",
        "sed",
        "tar",
        "util-linux",
        "python3",
        "python3-venv",
    ),
)
PLAYED = Path(__file__).with_name("played")

_FILES = {
    "etc/hostname": "raspberrypi\n",
    "etc/hosts": "127.0.0.1 localhost raspberrypi\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    # On a Pi, /proc/device-tree is a link to this; a /proc of this machine can have no such link.
    "sys/firmware/devicetree/base/model": f"{MODEL}\0",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    **{f"sys/devices/system/cpu/{name}": "0-3\n" for name in ("possible", "present", "online")},
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48300\n",
}


def arm64_root() -> Path:
    """Return the root's folder, which all tests share: mount something over it, never write."""
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(path.read_bytes())
    place = cached_folder("arm64-root", digest.hexdigest()[:16])
    with built_once(place) as staging:
        if staging is not None:
            _build(staging)
    return place


def _sources() -> Iterator[Path]:
    yield Path(__file__)
    yield from sorted(PLAYED.iterdir())


def _build(root: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="edgegen-root-") as temporary:
        scratch = Path(temporary)
        apt = PrivateApt(scratch / "apt", load_facts().debian)
        apt.update()
        (scratch / "debs").mkdir()
        names = apt.with_dependencies(PACKAGES)
        unpack(apt.download(names, scratch / "debs", SilentProgress()), root)
    for name, text in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("passwd", "group"):
        shutil.copyfile(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
    shutil.copyfile(PLAYED / "vcgencmd", root / "usr/bin/vcgencmd")
    (root / "usr/bin/vcgencmd").chmod(0o755)
    for name, target in {"bin/sh": "dash", "usr/bin/awk": "mawk"}.items():
        if not (root / name).exists():
            (root / name).symlink_to(target)
    for name in ("proc", "dev", "sys", "run", "root", "tmp"):
        (root / name).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for doc in ("doc", "man", "locale"):
        shutil.rmtree(root / "usr/share" / doc, ignore_errors=True)
