"""The packed runner."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgegen.runner.pack import FILE_NAME, pack_runner, packed_runner


def test_two_packings_are_byte_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pack_runner()
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    assert pack_runner() == first


def test_pack_holds_the_runner_and_nothing_that_names_this_machine() -> None:
    data = pack_runner()
    assert str(Path(__file__).parents[2]).encode() not in data
    assert b"__pycache__" not in data
    assert b"edgegen_runner/pipelines/stable_diffusion.py" in data


def test_pack_lies_in_the_cache_and_is_repaired_when_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    path = packed_runner()
    assert path.name == FILE_NAME
    assert zipfile.is_zipfile(path)
    path.write_bytes(b"half")
    assert packed_runner() == path
    assert path.read_bytes() == pack_runner()


def test_runner_imports_neither_torch_nor_edgegen_nor_any_other_package(tmp_path: Path) -> None:
    path = tmp_path / "runner.pyz"
    path.write_bytes(pack_runner())
    code = (
        "import sys, pkgutil\n"
        f"sys.path.insert(0, {str(path)!r})\n"
        "sys.modules['edgegen'] = sys.modules['torch'] = None\n"
        "before = set(sys.modules)\n"
        "import edgegen_runner, edgegen_runner.pipelines, edgegen_runner.schedulers\n"
        "for package in (edgegen_runner, edgegen_runner.pipelines, edgegen_runner.schedulers,\n"
        "                edgegen_runner.backends):\n"
        "    for module in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        # coremltools brings much of its own, tflite_runtime wants an older numpy, and
        # onnxruntime_qnn is an extra
        "        name = module.name.rpartition('.')[2]\n"
        "        if name not in ('__main__', 'coreml', 'tflite_runtime', 'onnxruntime_qnn'):\n"
        "            __import__(module.name)\n"
        "top = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "known = set(sys.stdlib_module_names) | {'numpy', 'edgegen_runner'}\n"
        "print(sorted(n for n in top - known if not n.startswith('_')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = set(eval(done.stdout))
    # What onnxruntime itself pulls in is its own affair.
    alone = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; import numpy, numpy.random, onnxruntime, openvino;"
            "import ai_edge_litert.interpreter, ai_edge_litert.compiled_model;"
            "print(sorted({n.partition('.')[0] for n in sys.modules}))",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
    )
    assert found <= set(eval(alone.stdout))
