"""The self-contained bundle: small ones of the test's own parts, in a moment.

`test_bundle_emulated.py` builds the real one and runs it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.cli.console import Console
from edgegen.cli.runner import runner
from edgegen.core.errors import ConfigError, IntegrityError, MissingDependencyError
from edgegen.core.progress import SilentProgress, SilentStep
from edgegen.runner.bundle import build as builder
from edgegen.runner.bundle.apt_sources import own_sources
from edgegen.runner.bundle.archive import read_contents, write_archive
from edgegen.runner.bundle.assemble import unpack_wheel
from edgegen.runner.bundle.build import Bundle, build_bundle, find_bundle, read_bundle, save_bundle
from edgegen.runner.bundle.check import check_programs
from edgegen.runner.bundle.debian import check_tools
from edgegen.runner.bundle.elf import NotElfError, read_elf
from edgegen.runner.bundle.facts import BundleFacts, load_facts
from edgegen.runner.bundle.launcher import launcher
from edgegen.runner.bundle.stdlib import find_compiler
from edgegen.runner.wheels import wheels_for
from tests.runner.fake_parts import (
    FakeApt,
    elf,
    tiny_facts,
    tiny_files,
    write_deb,
    write_wheel,
)

Change = Callable[[dict[str, bytes]], None]


@pytest.fixture
def tiny_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bundle]:
    """Return a function that builds a bundle of tiny parts, after a change to Debian's files."""
    for tool in ("dpkg-deb", "apt-get"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} here: apt-get install {tool.partition('-')[0]}")
    try:
        find_compiler("3.11")
    except MissingDependencyError as error:
        pytest.skip(f"{error.message} {error.hint}")
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    made = [0]

    def build(
        change: Change = lambda files: None, *, platform: str = "android-arm64", **options: bool
    ) -> Bundle:
        made[0] += 1
        parts = tmp_path / f"parts-{made[0]}"
        files = tiny_files()
        change(files)
        parts.mkdir()
        FakeApt.debs = (write_deb(parts, "everything", files),)
        wheels = [
            write_wheel(
                parts, "numpy", {"numpy/__init__.py": b"", "numpy/tests/test_a.py": b"1/0"}
            ),
            write_wheel(parts, "onnxruntime", {"onnxruntime/__init__.py": b"import numpy\n"}),
        ]
        pins, paths = zip(*wheels, strict=True)
        monkeypatch.setattr(builder, "load_facts", tiny_facts)
        monkeypatch.setattr(builder, "check_tools", lambda debian: None)
        monkeypatch.setattr(builder, "PrivateApt", FakeApt)
        monkeypatch.setattr(builder, "wheels_for", lambda *args, **kwargs: pins)
        monkeypatch.setattr(builder, "download", lambda *args: paths)
        return build_bundle(platform, **options)

    return build


def names_in(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        return [member.name.partition("/")[2] for member in tar.getmembers() if not member.isdir()]


def test_bundle_holds_what_the_device_needs_and_nothing_that_was_left_out(
    tiny_build: Callable[..., Bundle], tmp_path: Path
) -> None:
    bundle = tiny_build()
    assert names_in(bundle.archive) == [
        "bundle.json",
        "bin/python3.11",
        "lib/ld-linux-aarch64.so.1",
        "lib/libc.so.6",
        "lib/python3.11/lib-dynload/_json.cpython-311-aarch64-linux-gnu.so",
        "lib/python311.zip",
        "licences/everything/copyright",
        "licences/numpy/numpy-1.0.dist-info/LICENSE.txt",
        "licences/onnxruntime/onnxruntime-1.0.dist-info/LICENSE.txt",
        "python",
        "site-packages/numpy-1.0.dist-info/LICENSE.txt",
        "site-packages/numpy-1.0.dist-info/METADATA",
        "site-packages/numpy-1.0.dist-info/WHEEL",
        "site-packages/numpy/__init__.py",
        "site-packages/numpy/__pycache__/__init__.cpython-311.pyc",
        "site-packages/onnxruntime-1.0.dist-info/LICENSE.txt",
        "site-packages/onnxruntime-1.0.dist-info/METADATA",
        "site-packages/onnxruntime-1.0.dist-info/WHEEL",
        "site-packages/onnxruntime/__init__.py",
        "site-packages/onnxruntime/__pycache__/__init__.cpython-311.pyc",
    ]
    with tarfile.open(bundle.archive) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    top = tmp_path / "out" / bundle.folder
    assert os.access(top / "python", os.X_OK)
    assert (top / "tmp").is_dir()
    with zipfile.ZipFile(top / "lib/python311.zip") as stdlib:
        assert stdlib.namelist() == ["json/__init__.pyc", "os.pyc"]
    assert [part.name for part in bundle.parts] == ["everything", "numpy", "onnxruntime"]
    assert all(len(part.sha256) == 64 and part.licence for part in bundle.parts)


def test_same_parts_give_the_same_bytes_and_other_parts_another_id(
    tiny_build: Callable[..., Bundle],
) -> None:
    first = tiny_build()
    kept = first.archive.read_bytes()
    again = tiny_build(refresh=True)
    assert again.archive.read_bytes() == kept
    assert again.sha256 == first.sha256

    def newer(files: dict[str, bytes]) -> None:
        files["usr/lib/python3.11/os.py"] = b"name = 'other'\n"

    assert tiny_build(newer, refresh=True).id != first.id


def test_archive_names_nobody_of_this_machine(tiny_build: Callable[..., Bundle]) -> None:
    with tarfile.open(tiny_build().archive) as tar:
        for member in tar.getmembers():
            assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
            assert member.mtime == 315532800
            assert member.isfile() or member.isdir()


def test_bundle_of_the_cache_is_used_until_it_is_damaged(
    tiny_build: Callable[..., Bundle], tmp_path: Path
) -> None:
    assert find_bundle("android-arm64") is None
    built = tiny_build()
    assert find_bundle("android-arm64") == built
    assert find_bundle("linux-arm64") is None
    with built.archive.open("r+b") as file:
        file.seek(-3000, os.SEEK_END)
        file.write(b"x")
    assert find_bundle("android-arm64") is None
    assert tiny_build() == built
    copy = save_bundle(built, tmp_path / "away" / "bundle.tar")
    assert read_bundle(copy.archive) == replace(built, archive=copy.archive)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        (
            "usr/lib/python3.11/lib-dynload/_json.cpython-311-aarch64-linux-gnu.so",
            elf(needed=("libmissing.so.3",)),
            "needs libmissing.so.3",
        ),
        ("usr/bin/python3.11", elf(alignment_bytes=0x1000), "aligned to 4096"),
        ("usr/bin/python3.11", elf(machine=62), "another machine"),
        ("usr/bin/python3.11", b"#!/bin/sh\n", "bin/python3.11 is missing"),
        ("usr/bin/python3.11", elf(needed=("libc.so.6",))[:150], "damaged ELF"),
    ],
)
def test_bundle_that_could_not_start_is_never_written(
    tiny_build: Callable[..., Bundle], tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    with pytest.raises(IntegrityError, match=said):
        tiny_build(lambda files: files.update({name: data}))
    assert not list((tmp_path / "cache").rglob("*.tar"))


def test_part_without_a_licence_stops_the_build(tiny_build: Callable[..., Bundle]) -> None:
    facts = tiny_facts()
    other = replace(facts.packages[0], name="nameless", libraries=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.runner.test_bundle.tiny_facts", lambda: _with(facts, other))
        with pytest.raises(IntegrityError, match="nameless comes without a licence"):
            tiny_build()


def test_command_shows_each_part_with_its_licence_and_writes_the_file(
    tiny_build: Callable[..., Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_build()
    command = ["build", "--platform", "android-arm64", "-o", str(tmp_path / "bundle.tar")]
    runner.main(command, obj=Console(quiet=True), standalone_mode=False)
    shown = capsys.readouterr().out
    assert "everything" in shown
    assert "BSD-3-Clause" in shown
    assert str(tmp_path / "bundle.tar") in shown
    runner.main([*command, "--json"], obj=Console(quiet=True), standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told["sha256"] == hashlib.sha256((tmp_path / "bundle.tar").read_bytes()).hexdigest()
    assert told["size_bytes"] == (tmp_path / "bundle.tar").stat().st_size
    assert [part["name"] for part in told["parts"]] == ["everything", "numpy", "onnxruntime"]


def _with(facts: BundleFacts, package: object) -> BundleFacts:
    return replace(facts, packages=(*facts.packages, package))  # type: ignore[arg-type]  # a PackageFacts


def test_library_is_found_where_the_run_path_leads(tmp_path: Path) -> None:
    facts = tiny_facts()
    root = tmp_path / "root"
    for name, data in {
        f"lib/{facts.loader}": elf(),
        "bin/python3.11": elf(),
        "site-packages/numpy/core.so": elf(needed=("blas.so",), runpath="$ORIGIN/../numpy.libs"),
        "site-packages/numpy.libs/blas.so": elf(),
        "site-packages/escapes.so": elf(needed=("libc.so.6",), runpath="/usr/lib:$ORIGIN/../.."),
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (tmp_path / "libc.so.6").write_bytes(elf())
    with pytest.raises(IntegrityError, match=r"escapes\.so needs libc\.so\.6") as caught:
        check_programs(root, facts)
    assert "core.so" not in caught.value.message


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this machine's Python is no ELF")
def test_a_real_program_is_read_as_readelf_reads_it() -> None:
    program = Path(sys.executable).resolve()
    found = read_elf(program)
    if shutil.which("readelf") is None:
        pytest.skip("no readelf here: apt-get install binutils")
    told = subprocess.run(
        ["readelf", "-d", str(program)], capture_output=True, text=True, check=True
    ).stdout
    needed = [line.split("[")[1].split("]")[0] for line in told.splitlines() if "(NEEDED)" in line]
    assert list(found.needed) == needed
    assert needed


def test_what_is_no_elf_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for data in (b"", b"\x7fELF\x01\x01", b"\x7fELF\x02\x01" + b"\xff" * 90):
        path.write_bytes(data)
        with pytest.raises(NotElfError):
            read_elf(path)


def test_archive_with_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/bundle.json").write_text("{}")
    (tmp_path / "root/away").symlink_to("/etc/passwd")
    with pytest.raises(IntegrityError, match="link"):
        write_archive(tmp_path / "root", "x", tmp_path / "x.tar", SilentStep())


@pytest.mark.parametrize("content", [b"", b"no tar", None])
def test_file_that_is_no_bundle_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.tar"
    if content is None:
        with tarfile.open(path, "w") as tar:
            tar.addfile(tarfile.TarInfo("other/file"))
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="is no bundle"):
        read_contents(path)


def test_wheel_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../evil.py", "")
    with pytest.raises(IntegrityError):
        unpack_wheel(path, tmp_path / "out")
    assert not (tmp_path / "evil.py").exists()


@pytest.mark.parametrize("shell", ["sh", "bash", "mksh"])
@pytest.mark.parametrize("platform", ["android-arm64", "linux-arm64"])
def test_launcher_starts_the_bundles_own_loader(tmp_path: Path, shell: str, platform: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here (mksh is Android's own): apt-get install {shell}")
    facts = load_facts()
    folder = tmp_path / "a folder"
    (folder / "lib").mkdir(parents=True)
    (folder / "python").write_text(launcher(facts, facts.platform(platform)))
    loader = folder / "lib" / facts.loader
    loader.write_text(
        "#!/bin/sh\n"
        'printf "%s\\n" "$@" "$PYTHONHOME" "$PYTHONPATH" "$HOME" "${LD_LIBRARY_PATH:-unset}"\n'
    )
    loader.chmod(0o755)
    (tmp_path / "runtime").symlink_to("a folder")
    for cwd, script in (
        (tmp_path, "runtime/python"),
        (folder, "python"),
        (tmp_path, "a folder/python"),
    ):
        done = subprocess.run(
            [shell, script, "-c", "print(1, 'a b')", ""],
            cwd=cwd,
            env={
                "PATH": os.environ["PATH"],
                "HOME": "/home/pi",
                "LD_LIBRARY_PATH": "/system/lib64",
            },
            capture_output=True,
            text=True,
            check=True,
        )
        home = f"{folder}/home" if platform == "android-arm64" else "/home/pi"
        assert done.stdout.splitlines() == [
            *("--argv0", f"{folder}/python", "--library-path", f"{folder}/lib"),
            *(f"{folder}/bin/python3.11", "-s", "-c", "print(1, 'a b')", ""),
            *(str(folder), f"{folder}/site-packages", home, "unset"),
        ]


def test_facts_know_every_wheel_of_a_bundle() -> None:
    facts = load_facts()
    for runtime in facts.runtimes:
        pins = wheels_for((3, 11), "Linux", facts.machine, facts.glibc, runtime=runtime.name)
        assert [facts.wheel(pin.name).licence for pin in pins]
    with pytest.raises(ConfigError) as caught:
        facts.platform("andriod-arm64")
    assert "android-arm64" in caught.value.hint


ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib # ours
deb http://mirror.example/debian bookworm-updates main
deb http://mirror.example/debian bookworm-backports main
deb-src http://sources.example/debian bookworm main
deb https://download.docker.example/linux/debian bookworm stable
"""
DEB822 = """\
Types: deb
URIs: http://one.example/debian http://two.example/debian/
Suites: bookworm
 bookworm-updates
# a comment
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://one.example/debian-security
Suites: bookworm-security
Components: main
"""


def test_mirrors_of_this_machine_are_used(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(ONE_LINE)
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    found = own_sources(load_facts().debian, tmp_path)
    assert [(source.uri, source.suites) for source in found] == [
        ("http://mirror.example/debian", ("bookworm", "bookworm-updates")),
        ("http://one.example/debian", ("bookworm", "bookworm-updates")),
        ("http://two.example/debian", ("bookworm", "bookworm-updates")),
        ("http://one.example/debian-security", ("bookworm-security",)),
    ]


@pytest.mark.parametrize(
    "line", ["", "deb http://archive.example/ubuntu noble main", ONE_LINE[-65:]]
)
def test_machine_without_the_release_takes_debians_own_mirror(tmp_path: Path, line: str) -> None:
    (tmp_path / "sources.list").write_text(line)
    debian = load_facts().debian
    assert own_sources(debian, tmp_path) == debian.sources


def test_machine_without_apt_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="apt-get is not installed") as caught:
        check_tools(load_facts().debian)
    assert "pass the file along" in caught.value.hint


def test_unknown_runtime_is_refused_before_anything_is_fetched() -> None:
    with pytest.raises(ConfigError, match="ai-edge-litert"):
        build_bundle("android-arm64", runtime="ai-edge-litert", progress=SilentProgress())
