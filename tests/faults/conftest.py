"""Folders of the test's own, and packages that real command lines built."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgegen.cli.main import run
from tests.conftest import TinyPipeline
from tests.faults.command import GUARD, Command, Outcome
from tests.faults.pickles import plant_pickles, run_marks
from tests.faults.socket_guard import supported
from tests.shared import built_once

Edgegen = Callable[..., Outcome]
Mount = Callable[..., Path]


@pytest.fixture(autouse=True)
def _folders_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def edgegen(capsys: pytest.CaptureFixture[str]) -> Edgegen:
    """Return the command line, in this process: for what fails before a worker starts."""

    def call(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        return Outcome(code=run([str(word) for word in arguments]), errors=capsys.readouterr().err)

    return call


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return an empty folder in which packages are built."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def copy_of(tmp_path: Path, tiny_pipeline: TinyPipeline) -> Callable[[str], Path]:
    """Return a function that copies a tiny pipeline, to be spoiled."""

    def copy(family: str) -> Path:
        return Path(shutil.copytree(tiny_pipeline(family), tmp_path / family))

    return copy


@pytest.fixture(scope="session")
def guarded_package(tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: TinyPipeline) -> Path:
    """Build a package with a golden case, with parity, where no process may open a socket.

    The model's folder also holds pickles that would leave a mark if they were ever loaded.
    It is built once a run, for all workers.
    """

    def make(package: Path) -> None:
        root = tmp_path_factory.mktemp("guarded")
        model = Path(shutil.copytree(tiny_pipeline("ddpm"), root / "model"))
        plant_pickles(model, root)
        launcher = (sys.executable, GUARD) if supported() else ()
        command = Command(
            arguments=["package", model, "-t", "onnx", "-o", package],
            folder=root,
            launcher=launcher,
            env={
                "EDGEGEN_STATE_DIR": str(root / "state"),
                "EDGEGEN_CACHE_DIR": str(root / "cache"),
                "OMP_NUM_THREADS": "1",
            },
        )
        with command:
            outcome = command.wait()
            assert outcome.code == 0, outcome.errors
            assert list(command.scratch.iterdir()) == []
        assert run_marks(root) == []

    return built_once(tmp_path_factory, "guarded/package", make)


@pytest.fixture
def package(guarded_package: Path, tmp_path: Path) -> Path:
    """Return a copy of the package, to be spoiled."""
    return Path(shutil.copytree(guarded_package, tmp_path / "package"))


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Return a function that mounts a memory disk; without the right to, the test is skipped."""
    from edgegen.core import process

    mounted: list[Path] = []

    def make(options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir(exist_ok=True)
        if os.geteuid() != 0:
            pytest.skip("mounting a disk needs root")
        arguments = ["mount", "-t", "tmpfs", "-o", options, "edgegen-test", str(folder)]
        done = process.run(arguments, timeout_s=20, check=False)
        if done.returncode != 0:
            pytest.skip(f"a disk cannot be mounted here: {done.error_text.strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        process.run(["umount", str(folder)], timeout_s=20)
