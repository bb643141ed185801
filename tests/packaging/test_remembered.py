"""Packages are hashed before they are run, and again only where something was written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgegen.core.errors import IntegrityError
from edgegen.core.manifest import load_manifest
from edgegen.core.progress import SilentStep, Unit
from edgegen.packaging.remembered import require_unchanged
from tests.tiny_packages import onnx_package

NOW = time.time()


class Watched:
    """Progress that counts the bytes which were hashed."""

    def __init__(self) -> None:
        self.hashed_bytes = 0

    @contextmanager
    def step(
        self, name: str, *, total: float | None = None, unit: Unit = "items"
    ) -> Iterator[SilentStep]:
        assert (name, unit) == ("integrity", "bytes")
        self.hashed_bytes = int(total or 0)
        yield SilentStep(total=total)


@pytest.fixture(autouse=True)
def _later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files settle: they are believed when they are a few seconds old."""
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("time.time", lambda: NOW + 3600)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return onnx_package(tmp_path / "package")


def hashed_bytes(package: Path, *, everything: bool = False) -> int:
    watched = Watched()
    require_unchanged(package, load_manifest(package), watched, everything=everything)
    return watched.hashed_bytes


def size_of(package: Path) -> int:
    return sum(artifact.size_bytes for artifact in load_manifest(package).files)


def flip_a_bit(path: Path, at: int) -> None:
    """Change a file in place: its size and inode stay, and so does its time of change."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_package_is_hashed_the_first_time_only(package: Path) -> None:
    assert hashed_bytes(package) == size_of(package) > 0
    assert hashed_bytes(package) == 0
    assert hashed_bytes(package, everything=True) == size_of(package)


def test_what_was_written_again_is_hashed_again(package: Path) -> None:
    hashed_bytes(package)
    path = package / "unet/model.onnx"
    path.write_bytes(path.read_bytes())
    assert hashed_bytes(package) == path.stat().st_size


@pytest.mark.parametrize("seen_before", [False, True])
def test_every_flipped_bit_is_found(seen_before: bool, package: Path) -> None:
    path = package / "unet/model.onnx"
    if seen_before:
        hashed_bytes(package)
    for at in range(0, path.stat().st_size, 37):
        flip_a_bit(path, at)
        with pytest.raises(IntegrityError, match=r"unet/model\.onnx has another sha256"):
            hashed_bytes(package)
        flip_a_bit(path, at)


def test_what_has_just_been_written_is_not_believed_yet(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: package.stat().st_mtime)
    hashed_bytes(package)
    assert hashed_bytes(package) == size_of(package)


def test_a_package_of_the_same_files_with_another_manifest_is_hashed(package: Path) -> None:
    hashed_bytes(package)
    path = package / "edgegen.json"
    path.write_text(path.read_text().replace("Everything in float32.", "Float32."))
    assert hashed_bytes(package) == size_of(package)


def test_a_copy_is_hashed(package: Path, tmp_path: Path) -> None:
    hashed_bytes(package)
    package.rename(tmp_path / "moved")
    assert hashed_bytes(tmp_path / "moved") == size_of(tmp_path / "moved")


@pytest.mark.parametrize("content", ["", "{}", '{"manifest_sha256": 1}', "[" * 9999])
def test_what_is_remembered_may_be_anything(content: str, package: Path, tmp_path: Path) -> None:
    hashed_bytes(package)
    (remembered,) = (tmp_path / "cache/hashed").iterdir()
    remembered.write_text(content)
    assert hashed_bytes(package) == size_of(package)
    assert hashed_bytes(package) == 0


def test_without_a_cache_it_is_hashed_each_time(package: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    assert hashed_bytes(package) == size_of(package)
    assert hashed_bytes(package) == size_of(package)


def test_what_lies_beside_a_packages_own_folders_is_no_matter_to_a_run(package: Path) -> None:
    (package / "cat.png").touch()
    (package / "pictures").mkdir()
    (package / "pictures/dog.png").touch()
    (package / "unet/.DS_Store").touch()
    (package / ".edgegen-evidence.json-0123abcd").touch()
    hashed_bytes(package)
    with pytest.raises(IntegrityError, match=r"cat\.png is not in the manifest"):
        hashed_bytes(package, everything=True)
    (package / "tokenizer/added_tokens.json").touch()
    with pytest.raises(IntegrityError, match=r"added_tokens\.json is not in the manifest"):
        hashed_bytes(package)
