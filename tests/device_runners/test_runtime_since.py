"""A runtime that is older than a package needs is refused before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.package import load_package
from edgegen_runner.residency import Components
from edgegen_runner.runtime_versions import RuntimeNeed, refuse_older, version_numbers

from edgegen.core.errors import MissingDependencyError
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.packaging.runtime_versions import needs_of
from edgegen.runner.job import GenerateJob, ProbeJob, Request
from edgegen.runner.session import RunnerSession
from tests.tiny_packages import change_manifest, onnx_package

NEWER = {"runtime": "onnxruntime", "version": "999.1", "why": "its operator Dream"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = onnx_package(tmp_path_factory.mktemp("tiny") / "package")
    change_manifest(made, runtime_since=[NEWER])
    return made


@pytest.mark.parametrize("kind", ["generate", "probe"])
def test_the_runner_names_recipe_version_reason_and_what_to_type(
    kind: str, package: Path, tmp_path: Path
) -> None:
    job: Any = GenerateJob(package=str(package), request=Request(prompts=("a cat",)))
    if kind == "probe":
        import numpy as np

        np.save(tmp_path / "input_ids.npy", np.zeros((1, 4), np.int64))
        job = ProbeJob(
            package=str(package),
            component="text_encoder",
            inputs=str(tmp_path),
            outputs=str(tmp_path / "out"),
        )
    seen: list[str] = []
    with pytest.raises(
        MissingDependencyError,
        match=r"onnxruntime executes the recipe 'fp32' from 999\.1 on \(its operator Dream\), and",
    ) as caught:
        seen.extend(event["event"] for event in RunnerSession().raw_events(job))
    assert 'pip install "onnxruntime>=999.1"' in caught.value.hint
    assert "load" not in seen


class Runtime:
    """A runtime that says its name and version, and loads nothing."""

    def __init__(self, name: str, version: str) -> None:
        self.name = name
        self.version = version


@pytest.mark.parametrize("version", ["999.1", "999.1.0", "999.1rc1", "1000", "local build"])
def test_a_version_that_executes_it_is_not_refused(package: Path, version: str) -> None:
    loaded = load_package(package)
    Components(loaded, Runtime("onnxruntime", version), "all", print)  # type: ignore[arg-type]


def test_needs_of_another_runtime_do_not_matter(package: Path) -> None:
    loaded = load_package(package)
    Components(loaded, Runtime("openvino", "2023.3"), "all", print)  # type: ignore[arg-type]


def test_a_runtime_of_which_no_version_does_names_another() -> None:
    needs = needs_of(load_recipe("int8-dynamic", load_target("tflite")), load_target("tflite"))
    with pytest.raises(RunnerFailure, match="No version of tflite_runtime") as caught:
        refuse_older(
            [RuntimeNeed(it.runtime, it.version, it.why) for it in needs],
            "tflite_runtime",
            "2.14.0",
            "int8-dynamic",
        )
    assert "pip install ai-edge-litert" in caught.value.hint


def test_a_version_of_endless_digits_is_none() -> None:
    assert version_numbers("9" * 5000) == ()
    assert version_numbers("²") == ()


@pytest.mark.parametrize("needs", [{}, [1], [{"runtime": "onnxruntime"}], [{**NEWER, "why": 3}]])
def test_needs_that_are_no_list_of_them_break_the_manifest(needs: Any, tmp_path: Path) -> None:
    made = onnx_package(tmp_path / "package")
    change_manifest(made, runtime_since=needs)
    with pytest.raises(RunnerFailure, match="is broken"):
        load_package(made)
