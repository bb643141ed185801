"""A limit of memory in the runner: mapped pages are given back, and what is beyond ends it."""

from __future__ import annotations

import mmap
import os
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner import mapped_pages
from edgegen_runner.mapped_pages import clean_mappings, give_back_pages
from edgegen_runner.memory_limit import MemoryLimit
from edgegen_runner.pipelines.tiles import decode_in_tiles, starts
from edgegen_runner.process_tree import memory_of
from numpy.typing import NDArray

SMAPS = """\
7f0000000000-7f0000004000 r--p 00000000 fe:00 1234      /models/sd/unet/model.onnx_data
Size:                 16 kB
Rss:                  12 kB
Pss:                  12 kB
Private_Clean:        12 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
7f0000010000-7f0000014000 rw-p 00000000 fe:00 1234      /models/sd/unet/written.bin
Rss:                  12 kB
Anonymous:             4 kB
7f0000020000-7f0000024000 r--p 00000000 fe:00 77      /usr/lib/libm.so.6
Rss:                  12 kB
Anonymous:             0 kB
7f0000030000-7f0000034000 rw-p 00000000 00:00 0
Rss:                  12 kB
Anonymous:            12 kB
7f0000040000-7f0000044000 r--s 00000000 fe:00 9      /models/sd/vae/a b.onnx_data
Rss:                   8 kB
Anonymous:             0 kB
7f0000050000-7f0000054000 r--s 00000000 fe:00 9      /models/sd/vae/c.onnx_data
Rss:                   0 kB
Anonymous:             0 kB
"""
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_only_clean_pages_of_the_package_that_are_in_memory_are_found() -> None:
    assert list(clean_mappings(SMAPS, ("/models/sd/",))) == [
        (0x7F0000000000, 0x7F0000004000, 12 << 10),
        (0x7F0000040000, 0x7F0000044000, 8 << 10),
    ]


@on_linux
def test_pages_that_are_given_back_hold_what_the_file_holds(tmp_path: Path) -> None:
    size = 8 << 20
    path = tmp_path / "weights.bin"
    path.write_bytes(np.arange(size // 8, dtype=np.int64).tobytes())
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as mapped:
        first = hash(mapped[:])  # all pages are in memory now
        found = give_back_pages((f"{tmp_path}/",)), give_back_pages((f"{tmp_path}/",))
        assert hash(mapped[:]) == first
    assert found == (size, 0)


@on_linux
def test_what_was_written_to_a_private_mapping_stays(tmp_path: Path) -> None:
    size = 1 << 20
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(size))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as own:
        own[4096:4100] = b"mine"
        assert own[-1] == 0
        assert give_back_pages((f"{tmp_path}/",)) == 0
        assert own[4096:4100] == b"mine"


@on_linux
def test_mapped_pages_go_before_the_limit_is_reached_and_others_end_it(tmp_path: Path) -> None:

    size = 192 << 20
    path = tmp_path / "weights.bin"
    with path.open("wb") as file:
        file.truncate(size)
    memory = memory_of([os.getpid()])
    assert memory is not None
    beyond: list[int] = []
    ended = threading.Event()

    def exceeded(held_bytes: int) -> None:
        beyond.append(held_bytes)
        ended.set()

    allowed = memory.pss_bytes + (160 << 20)
    limit = MemoryLimit(allowed, [tmp_path], exceeded)
    limit.start()
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as mapped:
        for start in range(0, size, 8 << 20):
            assert mapped[start : start + (8 << 20)].count(b"\1") == 0
            ended.wait(0.02)
    assert beyond == []
    assert limit.given_back_bytes > 0
    held = np.ones(size // 8)  # of nobody's file
    assert ended.wait(10)
    assert beyond[0] > allowed
    limit.stop()
    assert held[0] == 1


def test_no_page_is_given_back_where_the_system_lists_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Windows has no C library without a name: it is not asked for."""
    monkeypatch.setattr(mapped_pages, "read", lambda _: None)
    monkeypatch.setattr(mapped_pages.ctypes, "CDLL", None)
    with mapped_pages.giving_back(Path("/models")):
        assert give_back_pages(("/models/",)) == 0


@pytest.mark.parametrize(
    ("length", "side"), [(64, 32), (65, 32), (33, 32), (96, 24), (64, 40), (30, 4), (8, 32)]
)
def test_tiles_cover_a_length_and_overlap(length: int, side: int) -> None:
    found = starts(length, side)
    covered = [range(start, min(start + side, length)) for start in found]
    assert set().union(*covered) == set(range(length))
    assert found[-1] + min(side, length) == length
    longest = max(1, side - side // 3)
    assert all(0 < after - before <= longest for before, after in pairwise(found))


def test_tiles_of_what_sees_its_own_place_only_make_the_same_picture() -> None:
    latents = np.random.default_rng(0).standard_normal((1, 3, 40, 56)).astype(np.float32)
    sizes = set()

    def enlarged(part: NDArray[Any]) -> NDArray[Any]:
        sizes.add(part.shape[2:])
        return part.repeat(8, axis=2).repeat(8, axis=3)

    made = decode_in_tiles(enlarged, latents, 16)
    np.testing.assert_allclose(made, enlarged(latents), atol=1e-5)
    assert sizes == {(16, 16), (40, 56)}


def test_a_tile_fades_into_its_neighbours() -> None:
    """Each tile has another brightness: the picture has all of them between, and no step."""
    tiles = iter([0.0, 1.0, 0.0])

    def plain(part: NDArray[Any]) -> NDArray[Any]:
        return np.full((1, 3, part.shape[2] * 8, part.shape[3] * 8), next(tiles), np.float32)

    made = decode_in_tiles(plain, np.zeros((1, 4, 16, 32), np.float32), 16)[0, 0, 0]
    assert made[0] == 0
    assert made.max() > 0.9
    assert np.abs(np.diff(made)).max() < 0.05
