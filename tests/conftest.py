"""Fixtures that all tests share."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path

import pytest

from edgegen.core.folders import cache_folder
from tests.shared import built_once
from tests.tiny_models import build

# As many tests run side by side as there are processors. Each computes on one thread: with more,
# threads of torch wait for each other in loops, and tiny models take ten times as long.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

TinyPipeline = Callable[..., Path]
NEW_MODULES = 200
_modules_seen = 0


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests without collecting garbage: what is imported meanwhile stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Take the modules out of the garbage collector's sight when many were imported.

    With torch, diffusers and 8,000 collected tests, a full collection looks at a million objects
    and takes 0.3 s. The runner, which frees components as it goes, asks for hundreds.
    """
    global _modules_seen
    if len(sys.modules) >= _modules_seen + NEW_MODULES:
        gc.collect()
        gc.freeze()
        _modules_seen = len(sys.modules)


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep logs, the cache, and the lock of this machine as a device, apart from the user's.

    Each worker has its own: what tests make in the cache (the packed runner, the folders of
    built-in models) is made in a moment. Only the root folders of the emulated devices, which take
    minutes and downloads, stay where earlier runs have left them.
    """
    roots = os.environ.get("EDGEGEN_TEST_CACHE_DIR") or str(cache_folder() / "tests")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEGEN_TEST_CACHE_DIR", roots)
        patch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("EDGEGEN_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> TinyPipeline:
    """Return a function that builds a tiny pipeline once a run: `tiny_pipeline("sd15")`.

    The folder is shared by all tests, of all workers: copy it before changing it.
    """

    def get(family: str, *, dtype: str = "float32", seed: int = 0) -> Path:
        name = f"tiny/{family}-{dtype}-{seed}"
        make = partial(build, family, dtype=dtype, seed=seed)
        return built_once(tmp_path_factory, name, make)

    return get


@pytest.fixture(scope="session")
def tiny_onnx_package(
    tiny_pipeline: TinyPipeline, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return an ONNX package of the tiny `sd15` in float32, with its golden case.

    It passed parity. It is built once a run, for all workers: copy it before changing it.
    """

    def make(destination: Path) -> None:
        from edgegen.models.source import resolve
        from edgegen.packaging.build import build
        from edgegen.packaging.plan import plan

        model = resolve(str(tiny_pipeline("sd15")))
        build(plan(model, target="onnx", recipe="fp32", destination=destination))

    return built_once(tmp_path_factory, "sd15-onnx-fp32/package", make)


@pytest.fixture
def captures_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let exports in this process share what was traced of tiny components."""
    from tests.exporters.harness import shared_capture

    monkeypatch.setattr("edgegen.exporters.capture.capture", shared_capture)
