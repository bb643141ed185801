"""Files are evicted, and whether they were is looked at."""

import os
import sys
from pathlib import Path

import pytest
from edgegen_runner.agent import page_cache
from edgegen_runner.agent.page_cache import EVICTED

from edgegen.core.measurement import PageCache

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="mincore is read on Linux only")


def evict(files: list[Path]) -> PageCache:
    return PageCache(**page_cache.evict(files))


def look(files: list[Path]) -> PageCache:
    return PageCache(**page_cache.look(files))


def backed_by_a_disk(folder: Path) -> bool:
    """Whether pages of a file in this folder can be dropped at all (not so in a tmpfs)."""
    kinds = {}
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, place, kind, *_ = line.split()
        kinds[place] = kind
    real = folder.resolve()
    nearest = max((place for place in kinds if real.is_relative_to(place)), key=len)
    return kinds[nearest] not in ("tmpfs", "ramfs")


@needs_linux
def test_an_evicted_file_is_no_longer_in_memory(tmp_path: Path) -> None:
    if not backed_by_a_disk(tmp_path):
        pytest.skip("the temporary folder lies in memory")
    files = [tmp_path / "a.bin", tmp_path / "b.bin"]
    for path in files:
        path.write_bytes(os.urandom(3_000_001))
    assert look(files).resident_bytes == 6_000_002
    found = evict(files)
    assert found == PageCache(file_bytes=6_000_002, resident_bytes=0, how=EVICTED)
    assert found.is_cold
    files[0].read_bytes()
    assert look(files).resident_bytes == 3_000_001


@needs_linux
def test_a_file_that_cannot_be_evicted_is_not_called_cold() -> None:
    shared_memory = Path("/dev/shm")
    if not os.access(shared_memory, os.W_OK):
        pytest.skip("no /dev/shm")
    path = shared_memory / f"edgegen-test-{os.getpid()}"
    path.write_bytes(b"x" * 100_000)
    try:
        found = evict([path])
    finally:
        path.unlink()
    assert found.resident_bytes == 100_000
    assert not found.is_cold


def test_files_are_not_called_cold_where_the_system_does_not_say() -> None:
    assert not PageCache(file_bytes=10, resident_bytes=None, how="unknown").is_cold


def test_an_empty_file_needs_no_memory(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    assert look([empty]).file_bytes == 0
    assert evict([empty]).file_bytes == 0
