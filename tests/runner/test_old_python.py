"""The runner on the oldest Python, numpy and onnxruntime that it promises to run on."""

import os
from pathlib import Path

import pytest

from edgegen.runner.job import GenerateJob, Request
from edgegen.runner.protocol import Hello, ImageEnd
from edgegen.runner.session import RunnerSession
from tests.tiny_packages import onnx_package

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("scheduler", [None, "euler", "dpmsolver++-sde-karras", "unipc", "lcm"])
def test_old_python_draws_the_same_image(tmp_path: Path, scheduler: str | None) -> None:
    old = os.environ.get("EDGEGEN_OLD_PYTHON")
    if not old:
        pytest.skip("EDGEGEN_OLD_PYTHON names no Python 3.9 with numpy 1.22 and onnxruntime")
    package = onnx_package(tmp_path / "package")
    job = GenerateJob(
        package=str(package),
        request=Request(prompts=("a cat",), scheduler=scheduler, seed=3),
        measure_memory=True,
    )
    here = [e for e in RunnerSession().events(job) if isinstance(e, ImageEnd)]
    there = list(RunnerSession(python=old).events(job))
    assert isinstance(there[0], Hello)
    assert there[0].python.startswith("3.9.")
    (image,) = [event for event in there if isinstance(event, ImageEnd)]
    assert image.sha256 == here[0].sha256
