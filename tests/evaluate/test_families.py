"""Every family can be evaluated: its package in float32 draws the pictures of torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.progress import SilentProgress
from edgegen.devices.device import Device
from edgegen.evaluate.gate import gate
from edgegen.evaluate.run import evaluate_package
from edgegen.evaluate.settings import EvaluateSettings
from edgegen.models.model_folder import ModelFolder
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from edgegen.runner.pack import pack_runner
from tests.conftest import TinyPipeline
from tests.contracts.test_exporters_contract import FAMILIES
from tests.devices.stand_ins import OtherMachine

FEW = EvaluateSettings(pictures=2, steps=3, reference_steps=3)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_package_of_every_family_draws_torchs_pictures(
    family: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = resolve(str(tiny_pipeline(FAMILIES[family])))
    built = build(
        plan(model, target="onnx", recipe="fp32", destination=tmp_path / "package"), parity=False
    )
    found = evaluate_package(built.path, model=model, settings=FEW)
    assert found.pictures
    assert all(suite.metrics["psnr"].worst > 50 for suite in found.suites)
    assert all(it.steps_psnr_db for it in found.pictures)
    assert gate(found, ()) == ()


@pytest.mark.slow
def test_pictures_of_a_device_are_those_of_the_package_here(
    package: Path, model: ModelFolder, tmp_path: Path
) -> None:
    settings = EvaluateSettings(suites=("known",), pictures=2, steps=2, reference_steps=2)
    with Device(OtherMachine(tmp_path / "device"), pack_runner()) as device:
        found = evaluate_package(
            package, model=model, settings=settings, device=device, progress=SilentProgress()
        )
    assert found.suites[0].metrics["psnr"].worst > 60
    assert found.runtime.endswith(device.address)
    assert all(it.steps_psnr_db == () for it in found.pictures)
