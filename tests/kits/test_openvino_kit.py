"""The OpenVINO kit draws from a package, in Python and in C++, and can be stopped.

`$EDGEGEN_KIT_PACKAGE` names another package to draw from than the one that is built here. The C++
part needs g++, cmake, and the headers of OpenVINO GenAI, which its wheel lacks:
`$EDGEGEN_GENAI_INCLUDE` names `src/cpp/include` of its source.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from edgegen_runner.png_reader import read_png
from numpy.typing import NDArray

from edgegen.core.process import run
from edgegen.core.shipped import shipped
from tests.kits.genai import (
    INCLUDE_VARIABLE,
    genai_python,
    library_environment,
    site_packages,
    write_cmake_config,
)

KIT = shipped("targets") / "openvino" / "kit"
PACKAGE_VARIABLE = "EDGEGEN_KIT_PACKAGE"
CANCELLED = 3
_RUN_S = 300.0


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if named := os.environ.get(PACKAGE_VARIABLE):
        return Path(named).absolute()
    from edgegen.models.source import resolve
    from edgegen.packaging.build import build
    from edgegen.packaging.plan import plan

    folder = tmp_path_factory.mktemp("packages") / "emoji"
    build(plan(resolve("builtin:emoji"), target="openvino", destination=folder), parity=False)
    return folder


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the C++ example, compiled with warnings as errors."""
    include = os.environ.get(INCLUDE_VARIABLE)
    if include is None:
        pytest.skip(f"{INCLUDE_VARIABLE} names no headers of OpenVINO GenAI; its wheel has none")
    config, folder = tmp_path_factory.mktemp("config"), tmp_path_factory.mktemp("build")
    write_cmake_config(site_packages(genai_python()), Path(include).absolute(), config)
    flags = ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror"]
    where = ["-S", str(KIT), "-B", str(folder), f"-DOpenVINOGenAI_DIR={config}"]
    run(["cmake", *where, *flags], timeout_s=_RUN_S)
    run(["cmake", "--build", str(folder)], timeout_s=_RUN_S)
    return folder / "text2image"


def _draw(program: list[str], package: Path, output: Path, *options: str) -> NDArray[np.uint8]:
    environment = library_environment(site_packages(genai_python()))
    arguments = [*program, str(package), "pizza", "--steps", "3", "-o", str(output), *options]
    completed = run(arguments, timeout_s=_RUN_S, env=environment)
    assert completed.text.strip() == str(output)
    assert "step 3 of 3" in completed.error_text
    pixels: NDArray[np.uint8] = read_png(output)
    return pixels[:, :, 0] if pixels.ndim == 4 else pixels


def _python() -> list[str]:
    return [str(genai_python()), str(KIT / "text2image.py")]


@pytest.mark.peers
def test_python_draws_an_image_and_the_seed_decides_which(package: Path, tmp_path: Path) -> None:
    one, again, other = (
        _draw(_python(), package, tmp_path / f"{index}.png", "--seed", seed)
        for index, seed in enumerate("112")
    )
    assert np.ptp(one) > 64
    assert (one == again).all()
    assert (one != other).any()


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", None])
def test_a_scheduler_that_genai_lacks_is_refused_by_name(name: str | None, tmp_path: Path) -> None:
    (tmp_path / "scheduler").mkdir()
    config = json.dumps({"_class_name": name})
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(config, encoding="ascii")
    arguments = [sys.executable, str(KIT / "text2image.py"), str(tmp_path), "pizza"]
    completed = run(arguments, timeout_s=_RUN_S, check=False)
    assert completed.returncode == 2
    assert f"draws with {name}" in completed.error_text


@pytest.mark.peers
def test_cpp_draws_the_image_that_python_draws(
    program: Path, package: Path, tmp_path: Path
) -> None:
    one = _draw([str(program)], package, tmp_path / "cpp.png", "--seed", "1")
    other = _draw(_python(), package, tmp_path / "python.png", "--seed", "1")
    assert (one == other).all()


@pytest.mark.peers
@pytest.mark.parametrize("language", ["python", "cpp"])
def test_a_cancelled_image_is_not_written(
    language: str, package: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    command = _python() if language == "python" else [str(request.getfixturevalue("program"))]
    output = tmp_path / "image.png"
    options = ["--steps", "3", "--cancel-after", "2", "-o", str(output)]
    environment = library_environment(site_packages(genai_python()))
    completed = run(
        [*command, str(package), "pizza", *options], timeout_s=_RUN_S, env=environment, check=False
    )
    assert completed.returncode == CANCELLED
    assert "step 2 of 3" in completed.error_text
    assert "step 3 of 3" not in completed.error_text
    assert not output.exists()
