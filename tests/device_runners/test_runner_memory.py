"""The runner's memory: of itself and its children, and what of it is page cache."""

import json
import mmap
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from edgegen_runner import memory, process_tree
from edgegen_runner.memory import MemorySampler
from edgegen_runner.process_tree import members, memory_of, parse_smaps

from edgegen.core.shipped import shipped
from tests.own_process import in_own_process
from tests.tiny_packages import onnx_package

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc")

MIB = 1 << 20

CHILD = "import sys; held = bytearray(64 << 20); sys.stdout.write('x'); sys.stdout.flush()"
CHILD += "; sys.stdin.read()"


def start_child() -> "subprocess.Popen[bytes]":
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.read(1) == b"x"
    return child


def end(child: "subprocess.Popen[bytes]") -> None:
    child.communicate(timeout=30)


def test_memory_of_a_child_counts_and_it_is_told_how_many_there_were() -> None:
    # In a process of its own: this one may have other children.
    code = (
        "import json, os, subprocess, sys, time\n"
        "from edgegen_runner.memory import MemorySampler\n"
        "from edgegen_runner.process_tree import memory_of\n"
        "alone = memory_of([os.getpid()]).pss_bytes\n"
        "sampler = MemorySampler()\n"
        "sampler.start()\n"
        f"command = [sys.executable, '-c', {CHILD!r}]\n"
        "pipe = subprocess.PIPE\n"
        "with subprocess.Popen(command, stdin=pipe, stdout=pipe) as child:\n"
        "    child.stdout.read(1)\n"
        "    time.sleep(0.7)\n"
        "    child.communicate()\n"
        "print(json.dumps([alone, sampler.stop()]))\n"
    )
    runner = shipped("device_runners") / "python"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=runner, timeout=60, capture_output=True
    )
    alone_bytes, told = json.loads(done.stdout)
    assert told["processes"] == 2
    assert told["peak_pss_bytes"] > alone_bytes + 60 * MIB


def test_a_mapped_file_is_page_cache_and_a_buffer_is_not(tmp_path: Path) -> None:
    in_own_process(check_a_mapped_file_and_a_buffer, tmp_path / "weights")


def check_a_mapped_file_and_a_buffer(file_name: str) -> None:
    path = Path(file_name)
    path.write_bytes(os.urandom(48 * MIB))
    before = memory_of([os.getpid()])
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) > 0
        with_file = memory_of([os.getpid()])
        held = bytearray(os.urandom(32 * MIB))
        with_both = memory_of([os.getpid()])
    assert before is not None
    assert with_file is not None
    assert with_both is not None
    assert held
    assert None not in (before.file_bytes, with_file.file_bytes, with_both.anonymous_bytes)
    grown = (with_file.file_bytes or 0) - (before.file_bytes or 0)
    assert grown == pytest.approx(48 * MIB, rel=0.1)
    more = (with_both.anonymous_bytes or 0) - (with_file.anonymous_bytes or 0)
    assert more == pytest.approx(32 * MIB, rel=0.1)


def test_a_kernel_without_a_rollup_gives_the_same_figures(tmp_path: Path) -> None:
    in_own_process(check_maps_against_their_rollup, tmp_path / "weights")


def check_maps_against_their_rollup(file_name: str) -> None:
    path = Path(file_name)
    path.write_bytes(os.urandom(16 * MIB))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) > 0
        mapped[: 4 * MIB] = bytes(4 * MIB)  # these pages are no longer the file's
        rolled = memory_of([os.getpid()])
        summed = parse_smaps(process_tree.read("/proc/self/smaps") or "")
    assert rolled is not None
    assert summed is not None
    assert summed.pss_bytes == pytest.approx(rolled.pss_bytes, rel=0.02)
    assert summed.file_bytes == pytest.approx(rolled.file_bytes, rel=0.05)
    assert summed.anonymous_bytes == pytest.approx(rolled.anonymous_bytes, rel=0.05)


def test_a_rollup_that_does_not_tell_kinds_leaves_them_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {"/proc/7/smaps_rollup": "0-1 ---p 0 00:00 0 [rollup]\nRss:  9 kB\nPss:   5 kB\n"}
    monkeypatch.setattr(process_tree, "read", files.get)
    assert memory_of([7]) == process_tree.TreeMemory(5 << 10, None, None)
    assert memory_of([8]) is None


@pytest.mark.parametrize("maps", ["", "garbage\n", "0-1 r--p 0 00:00 0 [heap]\nRss: 1 kB\n"])
def test_maps_that_tell_no_pss_are_not_known(maps: str) -> None:
    assert parse_smaps(maps) is None


def test_memory_that_nobody_tells_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_tree, "read", lambda path: None)
    monkeypatch.setattr(memory, "read", lambda path: None)
    sampler = MemorySampler()
    sampler.start()
    told = sampler.stop()
    assert told["peak_pss_bytes"] is None
    assert told["processes"] is None
    assert told["peak_gpu_bytes"] is None
    assert told["peak_resident_bytes"] is not None  # getrusage tells it


def test_descendants_are_found_where_the_kernel_has_no_list_of_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = process_tree.read
    monkeypatch.setattr(
        process_tree, "read", lambda path: None if path.endswith("children") else real(path)
    )
    child = start_child()
    try:
        assert {os.getpid(), child.pid} <= set(members(os.getpid()))
        assert members(child.pid) == [child.pid]
    finally:
        end(child)


# In a process of its own: the threads and pages of a test run would be counted here.
SAMPLED = """
import os, time
from edgegen_runner.memory import MemorySampler
held = [bytearray(os.urandom(1 << 20)) for _ in range(64)]
before = time.process_time()
sampler = MemorySampler()
sampler.start()
time.sleep(2)
sampler.stop()
print(time.process_time() - before)
"""


def test_sampling_takes_a_small_share_of_the_time() -> None:
    said = subprocess.run(
        [sys.executable, "-c", SAMPLED], check=True, capture_output=True, text=True, timeout=60
    )
    assert float(said.stdout) < 0.2  # of 2 s: a bound that a busy machine keeps too


def test_a_sample_sees_what_lasts_too_short_for_the_thread() -> None:
    sampler = MemorySampler()
    sampler.sample()
    before = sampler.peak_pss_bytes
    held = bytearray(64 * MIB)
    sampler.sample()
    del held
    assert before is not None
    assert sampler.peak_pss_bytes is not None
    assert sampler.peak_pss_bytes > before + 60 * MIB


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_a_lean_runtime_gives_large_blocks_back_when_they_are_freed(tmp_path: Path) -> None:
    # A freed block of 16 MiB would have those of 8 MiB come from the heap from then on.
    code = (
        "import ctypes, sys\n"
        "from pathlib import Path\n"
        "from edgegen_runner.backends import BackendOptions, open_backend\n"
        "from edgegen_runner.package import load_package\n"
        "class Heap(ctypes.Structure):\n"
        "    _fields_ = [(it, ctypes.c_size_t) for it in 'arena ordblks smblks hblks'.split()]\n"
        "    _fields_ += [('others', ctypes.c_size_t * 6)]\n"
        "c = ctypes.CDLL(None)\n"
        "c.mallinfo2.restype = Heap\n"
        "c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]\n"
        "c.free.argtypes = [ctypes.c_void_p]\n"
        "component = load_package(Path(sys.argv[1])).component('unet')\n"
        "backend = open_backend(BackendOptions(memory=sys.argv[2]))\n"
        "session = backend.load(component.path, component)\n"
        "c.free(c.malloc(16 << 20))\n"
        "before = c.mallinfo2().hblks\n"
        "c.malloc(8 << 20)\n"
        "print(c.mallinfo2().hblks - before)\n"
    )
    runner = shipped("device_runners") / "python"
    package = onnx_package(tmp_path / "package")

    def mapped(mode: str) -> int:
        command = [sys.executable, "-c", code, str(package), mode]
        done = subprocess.run(command, check=True, cwd=runner, timeout=120, capture_output=True)
        return int(done.stdout)

    assert [mapped("lean"), mapped("fast")] == [1, 0]
