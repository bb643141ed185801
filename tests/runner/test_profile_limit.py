"""A limit of memory that a profile sets is kept without an option."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgegen.cli.main import run
from edgegen.core.errors import OutOfMemoryError
from edgegen.core.shipped import shipped
from edgegen.devices import store
from edgegen.devices.profiles import load_profile
from edgegen.runner.attach import attach
from edgegen.runner.backend_choice import Wishes, profile_limit_bytes
from edgegen.runner.deployment import deploy
from tests.tiny_packages import onnx_package

MB = 10**6
Limited = Callable[[int], str]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_package(tmp_path_factory.mktemp("limit") / "package")


@pytest.fixture
def limited(tmp_path: Path) -> Limited:
    """Return a function that writes a profile with a limit for ONNX Runtime."""

    def write(limit_bytes: int) -> str:
        text = (shipped("profiles") / "x86-mini-pc.toml").read_text(encoding="utf-8")
        changed = text.replace("threads = 4", f"threads = 1\nmemory_limit_bytes = {limit_bytes}", 1)
        path = tmp_path / "x86-mini-pc.toml"
        path.write_text(changed, encoding="utf-8")
        return str(path)

    return write


def test_a_limit_is_of_one_target_and_of_no_profile_that_ships(limited: Limited) -> None:
    profile = load_profile(limited(700 * MB))
    assert profile_limit_bytes(profile, "onnx") == 700 * MB
    assert profile_limit_bytes(profile, "openvino") is None
    assert profile_limit_bytes(load_profile("x86-mini-pc"), "onnx") is None
    assert profile_limit_bytes(None, "onnx") is None


def test_run_keeps_the_limit_or_says_the_least(
    package: Path, limited: Limited, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fixed = [
        "--residency",
        "sequential",
        "--memory",
        "lean",
        "--guidance",
        "1",
    ]  # no remedy is left
    words = ["run", str(package), "--prompt", "a", "-o", str(tmp_path / "a.png"), *fixed]
    assert run([*words, "--profile", limited(1500 * MB)]) == 0
    said = capfd.readouterr().err
    assert "Memory: one component at a time, mapped weights: " in said
    assert "of 1.50 GB." in said
    assert run([*words, "--profile", limited(1 * MB)]) == 10
    said = capfd.readouterr().err
    assert "No way to draw this keeps within 1.00 MB" in said
    assert "memory_limit_bytes" in said
    # an option takes the profile's place, and what was tried is known
    assert run([*words, "--profile", limited(1 * MB), "--max-memory", "1500MB"]) == 0
    assert "of 1.50 GB." in capfd.readouterr().err


@pytest.mark.slow
def test_what_cannot_keep_the_limit_is_not_deployed(
    package: Path, limited: Limited, tmp_path: Path
) -> None:
    with attach("local", str(tmp_path / "root")) as device:
        wishes = Wishes(profile=load_profile(limited(1 * MB)))
        with pytest.raises(OutOfMemoryError, match=r"keeps within 1\.00 MB"):
            deploy(device, package, wishes=wishes)
        assert [it.current for it in store.status(device)] == [None]
        wishes = Wishes(profile=load_profile(limited(1500 * MB)))
        done = deploy(device, package, wishes=wishes)
        assert done.memory is not None
        assert done.memory.plan.words == "as always"
        assert 10 * MB < done.memory.peak_bytes < 1500 * MB
        assert deploy(device, package).memory is None


@pytest.mark.slow
def test_bench_keeps_the_limit(
    package: Path, limited: Limited, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", str(package), "--quick", "--no-history", "--json"]
    assert run([*words, "--profile", limited(1500 * MB)]) == 0
    said = capfd.readouterr()
    assert json.loads(said.out)["workload"]["max_memory_bytes"] == 1500 * MB
    assert "Memory: as always, " in said.err
