"""Tiny packages of Debian and wheels, of which a bundle is built in a moment.

The programs in them are ELF files that nothing can execute: a header, one LOAD segment, and what
the dynamic linker would read.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgegen.core.process import run
from edgegen.core.progress import Progress
from edgegen.runner.bundle.debian import Deb
from edgegen.runner.bundle.facts import BundleFacts, PackageFacts, load_facts
from edgegen.runner.wheels import Pin

AARCH64 = 183


def elf(
    *,
    needed: Sequence[str] = (),
    machine: int = AARCH64,
    alignment_bytes: int = 0x10000,
    runpath: str = "",
    soname: str = "",
) -> bytes:
    """Return the bytes of an ELF file (System V ABI, chapters 4 and 5)."""
    strings = bytearray(b"\0")

    def text(value: str) -> int:
        at = len(strings)
        strings.extend(value.encode() + b"\0")
        return at

    entries = [(1, text(name)) for name in needed]
    if soname:
        entries.append((14, text(soname)))
    if runpath:
        entries.append((29, text(runpath)))
    strings_at = 64 + 2 * 56
    dynamic_at = strings_at + len(strings)
    base = 0x400000
    entries += [(5, base + strings_at), (0, 0)]
    dynamic = b"".join(struct.pack("<qQ", *entry) for entry in entries)
    end = dynamic_at + len(dynamic)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, end, end, alignment_bytes)
    linked = struct.pack(
        "<IIQQQQQQ", 2, 6, dynamic_at, base + dynamic_at, 0, len(dynamic), len(dynamic), 8
    )
    return header + load + linked + bytes(strings) + dynamic


def write_deb(folder: Path, name: str, files: Mapping[str, bytes], version: str = "1.0-1") -> Deb:
    """Build a package with dpkg-deb."""
    tree = folder / f"{name}-tree"
    _write(tree, files)
    _write(tree, {f"usr/share/doc/{name}/copyright": f"{name} is free.\n".encode()})
    control = (
        f"Package: {name}\nVersion: {version}\nArchitecture: arm64\n"
        f"Maintainer: Nobody <nobody@example.org>\nDescription: a part of a test\n"
    )
    _write(tree, {"DEBIAN/control": control.encode()})
    path = folder / f"{name}_{version}_arm64.deb"
    run(
        ("dpkg-deb", "--root-owner-group", "--build", str(tree), str(path)),
        timeout_s=60,
        env={"SOURCE_DATE_EPOCH": "0"},
    )
    data = path.read_bytes()
    return Deb(
        name=name,
        version=version,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        uri=f"http://example.org/{path.name}",
        path=path,
    )


def write_wheel(
    folder: Path,
    name: str,
    files: Mapping[str, bytes],
    *,
    version: str = "1.0",
    python: str = "3.11",
) -> tuple[Pin, Path]:
    """Write a wheel for aarch64, and return its pin and path."""
    tag = f"cp{python.replace('.', '')}"
    path = folder / f"{name}-{version}-{tag}-{tag}-manylinux_2_28_aarch64.whl"
    info = f"{name}-{version}.dist-info"
    described: dict[str, str | bytes] = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n"
        f"Tag: {tag}-{tag}-manylinux_2_28_aarch64\n",
        f"{info}/LICENSE.txt": f"{name} is free.\n",
        f"{info}/RECORD": "",
    }
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for inner, data in {**described, **files}.items():
            archive.writestr(zipfile.ZipInfo(inner), data)
    pin = Pin(
        name=name,
        version=version,
        python=python,
        system="Linux",
        machine="aarch64",
        tag="manylinux_2_28_aarch64",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    return pin, path


def tiny_facts() -> BundleFacts:
    """Return the facts that ship, but for one package of Debian in place of all."""
    libraries = ("lib/aarch64-linux-gnu/ld-linux-aarch64.so.1", "lib/aarch64-linux-gnu/libc.so.6")
    package = PackageFacts(name="everything", licence="MIT", libraries=libraries)
    return replace(load_facts(), packages=(package,))


def tiny_files() -> dict[str, bytes]:
    """Return the files of that package: a program, its library, and a standard library."""
    facts = load_facts()
    libraries = "lib/aarch64-linux-gnu"
    return {
        facts.program: elf(needed=("libc.so.6", facts.loader)),
        f"{libraries}/{facts.loader}": elf(soname=facts.loader),
        f"{libraries}/libc.so.6": elf(needed=(facts.loader,), soname="libc.so.6"),
        f"{facts.stdlib}/os.py": b"name = 'posix'\n",
        f"{facts.stdlib}/json/__init__.py": b"def loads(text): ...\n",
        f"{facts.stdlib}/test/test_os.py": b"raise AssertionError\n",
        f"{facts.extensions}/_json.cpython-311-aarch64-linux-gnu.so": elf(needed=("libc.so.6",)),
        f"{facts.extensions}/_bz2.cpython-311-aarch64-linux-gnu.so": elf(needed=("libbz2.so.1.0",)),
    }


class FakeApt:
    """Stands for `PrivateApt`: gives packages of the test's instead of Debian's."""

    debs: tuple[Deb, ...] = ()

    def __init__(self, folder: Path, debian: object) -> None:
        pass

    def update(self) -> None:
        """Do nothing."""

    def download(self, names: Sequence[str], folder: Path, progress: Progress) -> tuple[Deb, ...]:
        """Return the test's packages."""
        return self.debs


def _write(root: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
