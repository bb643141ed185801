"""Every command that asks the model takes what a package was built with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgegen.cli.main import run
from edgegen.core.errors import SourceError
from tests.adapters.writers import is_trained, kohya, lora, modules_in, write
from tests.conftest import TinyPipeline
from tests.ip_adapter.original import write_ip_adapter
from tests.tiny_models import write_controlnet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"
    ),
]
FEW = ("--pictures", "1", "--steps", "2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model, what is added to it, and a package of both."""

    model: Path
    option: str
    value: str
    package: Path

    @property
    def added(self) -> tuple[str, str]:
        return (self.option, self.value)


def _file(option: str, model: Path, folder: Path) -> str:
    if option == "--controlnet":
        return str(write_controlnet("sd15", folder / "controlnet"))
    if option == "--ip-adapter":
        return f"{write_ip_adapter(folder / 'models', model, 'plain')}:0.7"
    file, modules = folder / "lora.safetensors", modules_in(model / "unet", is_trained)
    write(file, [("unet", name, weight) for name, weight in modules.items()], lora, kohya)
    return f"{file}:0.7"


@pytest.fixture(scope="module", params=["--controlnet", "--ip-adapter", "--lora"])
def subject(
    request: pytest.FixtureRequest,
    tiny_pipeline: TinyPipeline,
    tmp_path_factory: pytest.TempPathFactory,
) -> Subject:
    model, folder = tiny_pipeline("sd15"), tmp_path_factory.mktemp("added")
    value = _file(request.param, model, folder)
    package = folder / "package"
    arguments = ("package", str(model), request.param, value, "-t", "onnx", "-r", "fp16-storage")
    assert run([*arguments, "--steps", "4", "-o", str(package)]) == 0
    return Subject(model=model, option=request.param, value=value, package=package)


def _psnrs(evaluation: dict[str, Any]) -> list[float | None]:
    return [it["scores"]["psnr"] for it in evaluation["pictures"]]


def test_a_package_is_compared_with_the_model_that_it_was_built_of(
    subject: Subject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package, model = str(subject.package), ("--model", str(subject.model))
    assert run(["verify", package, "--full", *model, *subject.added]) == 0
    quality = tmp_path / "quality"
    asked = (*model, *subject.added, *FEW)
    assert run(["evaluate", package, *asked, "--reference-steps", "2", "-o", str(quality)]) == 0
    found = json.loads((quality / "evaluation.json").read_text(encoding="utf-8"))
    assert all(psnr is None or psnr > 40 for psnr in _psnrs(found))
    capsys.readouterr()
    assert run(["compare", package, package, *asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changes"]


def test_without_it_a_package_says_what_is_lacking(
    subject: Subject, capsys: pytest.CaptureFixture[str]
) -> None:
    package, model = str(subject.package), ("--model", str(subject.model))
    is_folder = subject.option == "--controlnet"
    lacking = "Give --controlnet its folder" if is_folder else f"{subject.option} FILE:0.7"
    for command in (("verify", "--full"), ("evaluate", *FEW), ("compare", package, *FEW)):
        name, *options = command
        assert run([name, package, *options, *model]) == SourceError.exit_code
        assert lacking in capsys.readouterr().err


def test_a_model_is_examined_with_it(
    subject: Subject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(subject.model)
    assert run(["sensitivity", model, *subject.added, "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)["components"]
    assert layers["unet"]
    assert ("controlnet" in layers) == (subject.option == "--controlnet")
    limits = ("--max-memory", "1GB", "--max-latency", "1min", "--pictures", "2", "--steps", "2")
    command = ("choose", model, *subject.added, "-d", "local", "-t", "onnx:fp16-storage,onnx:int8")
    assert run([*command, *limits, "-o", str(tmp_path / "choice")]) == 0
