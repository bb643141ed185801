"""Graphs that a runtime has optimized are kept: the same picture, sooner, and never a stale one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from edgegen.cli.main import run
from edgegen.runner import optimized
from edgegen.runner.optimized import MOST_PACKAGES, optimized_folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "optimized"


def draw(package: Path, output: Path) -> bytes:
    assert run(["run", str(package), "--prompt", "a", "--steps", "2", "-o", str(output)]) == 0
    return output.read_bytes()


def graphs(cache: Path) -> list[Path]:
    return sorted(file for file in cache.rglob("*") if file.suffix in (".onnx", ".blob"))


def keeps_graphs(package: Path, cache: Path, tmp_path: Path) -> None:
    """Check that a second run draws the first one's pixels, with the graphs that it left."""
    first = draw(package, tmp_path / "first.png")
    kept = graphs(cache)
    assert len(kept) == 3  # text encoder, denoiser, decoder
    times = [file.stat().st_mtime_ns for file in kept]
    assert draw(package, tmp_path / "second.png") == first
    assert [file.stat().st_mtime_ns for file in graphs(cache)] == times


def test_the_second_picture_is_the_first_and_of_kept_graphs(
    tiny_onnx_package: Path, cache: Path, tmp_path: Path
) -> None:
    keeps_graphs(tiny_onnx_package, cache, tmp_path)


@pytest.mark.slow
def test_openvino_keeps_its_graphs_too(cache: Path, tmp_path: Path) -> None:
    package = tmp_path / "package"
    assert run(["package", "builtin:emoji", "-t", "openvino", "-o", str(package)]) == 0
    keeps_graphs(package, cache, tmp_path)


def test_a_damaged_kept_graph_is_passed_over(
    tiny_onnx_package: Path, cache: Path, tmp_path: Path
) -> None:
    first = draw(tiny_onnx_package, tmp_path / "first.png")
    for file in graphs(cache):
        file.write_bytes(file.read_bytes()[:100])
    assert draw(tiny_onnx_package, tmp_path / "second.png") == first


def test_another_package_has_graphs_of_its_own(
    tiny_onnx_package: Path, cache: Path, tmp_path: Path
) -> None:
    draw(tiny_onnx_package, tmp_path / "first.png")
    other = shutil.copytree(tiny_onnx_package, tmp_path / "other")
    manifest = other / "edgegen.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    draw(other, tmp_path / "second.png")
    assert len(list(cache.iterdir())) == 2
    assert not [path for path in cache.rglob("*") if path.name.endswith(".tmp")]


def test_without_a_place_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert optimized_folder("0" * 64) is None


def test_only_the_packages_that_were_drawn_with_last_keep_theirs(cache: Path) -> None:
    for index in range(MOST_PACKAGES + 2):
        folder = optimized_folder(f"{index:064x}"[::-1])
        assert folder is not None
        os.utime(folder, (index, index))
    kept = sorted(path.name for path in cache.iterdir())
    assert len(kept) == MOST_PACKAGES
    assert folder.name in kept


def test_what_is_kept_is_bounded_in_bytes_too(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimized, "MOST_BYTES", 250)
    for index in range(4):
        folder = optimized_folder(f"{index:064x}"[::-1])
        assert folder is not None
        (folder / "component").mkdir()
        (folder / "component" / "packed").write_bytes(b"0" * 100)
        os.utime(folder, (index, index))
    assert optimized_folder("f" * 64) is not None
    left = sum(file.stat().st_size for file in cache.rglob("packed"))
    assert left == 200
