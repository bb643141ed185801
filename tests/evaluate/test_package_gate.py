"""`edgegen package` with a limit on quality keeps no package that breaks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgegen.cli.main import run
from edgegen.cli.package_quality import QualityGate
from edgegen.core.errors import EdgegenError, ParityError
from edgegen.core.figures import Limit
from edgegen.core.progress import SilentProgress
from edgegen.models.model_folder import ModelFolder
from edgegen.models.source import resolve
from edgegen.packaging.batch import build_all
from edgegen.packaging.build import Built
from edgegen.packaging.plan import plan
from tests.conftest import TinyPipeline
from tests.evaluate.results import evaluation, results


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the packages that are evaluated, with pictures at 40 dB."""
    packages: list[Path] = []

    def evaluate(package: Path, **options: Any) -> object:
        assert options["settings"].suites == ("known",)
        packages.append(package)
        return evaluation(results([39.0, 40.0, 41.0]))

    monkeypatch.setattr("edgegen.evaluate.run.evaluate_package", evaluate)
    return packages


def test_a_package_that_breaks_a_limit_is_refused_by_name(
    seen: list[Path], package: Path, model: ModelFolder
) -> None:
    far = QualityGate(model, (Limit(figure="psnr", value=60.0),), SilentProgress())
    with pytest.raises(ParityError, match=r"onnx fp32 draws too far .*60.0 dB"):
        far.accept(package, "onnx fp32")
    assert far.of("onnx fp32") is not None
    near = QualityGate(model, (Limit(figure="psnr", value=30.0),), SilentProgress())
    near.accept(package, "onnx fp32")
    assert seen == [package, package]


@pytest.mark.slow  # what accepts a package, and what one that fails leaves, is tried in every run
def test_what_is_refused_is_not_put_in_its_place(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = resolve(str(tiny_pipeline("ddpm")))
    plans = [
        plan(model, target="onnx", recipe=recipe, destination=tmp_path / recipe)
        for recipe in ("fp32", "fp16-storage")
    ]
    complete = []

    def accept(folder: Path, name: str) -> None:
        complete.append((folder / "edgegen.json").is_file())
        if name == "onnx fp32":
            raise ParityError("too far")

    refused, kept = build_all(plans, parity=False, accept=accept).packages
    assert complete == [True, True]
    assert isinstance(refused, EdgegenError)
    assert isinstance(kept, Built)
    assert [path.name for path in tmp_path.iterdir()] == ["fp16-storage"]


def test_a_limit_that_is_none_is_refused_before_anything_is_built(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["package", "builtin:emoji", "-t", "onnx", "-o", str(tmp_path / "out")]
    for value in ("much", "-3dB", "30MB"):
        assert run([*words, f"--min-psnr={value}"]) == 2
    assert "--min-psnr" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
