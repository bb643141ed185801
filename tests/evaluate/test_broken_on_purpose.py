"""Packages that are broken on purpose are each found by the layer that should find them.

The table of docs/guides/quality.md, a row a test. Every package here has hashes that fit its bytes:
it is what a faulty conversion would write, not what a disk would damage.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.core.errors import ParityError, SourceError
from edgegen.core.evaluation import Evaluation
from edgegen.core.figures import Limit
from edgegen.core.manifest import load_manifest
from edgegen.evaluate.gate import gate
from edgegen.evaluate.run import evaluate_package
from edgegen.evaluate.settings import EvaluateSettings
from edgegen.models.model_folder import ModelFolder
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.integrity import verify_files
from edgegen.packaging.plan import plan
from edgegen.packaging.verify import verify_package
from edgegen.parity.gate import check_package, require
from tests.conftest import TinyPipeline
from tests.tiny_packages import change_manifest

SETTINGS = EvaluateSettings(suites=("known",), pictures=3, steps=2, reference_steps=2)
PSNR = Limit(figure="psnr", value=50.0)
LAYERS = ("component", "trajectory", "image")

Break = Callable[[Path], None]


@pytest.fixture
def broken(package: Path, tmp_path: Path) -> Callable[[Break], Path]:
    def make(spoil: Break) -> Path:
        folder = tmp_path / "broken"
        shutil.copytree(package, folder)
        spoil(folder)
        seal(folder)
        verify_files(folder, load_manifest(folder))
        return folder

    return make


def seal(package: Path) -> None:
    """Let the manifest list the files as they are now."""
    files = [
        {
            "path": path.relative_to(package).as_posix(),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size_bytes": path.stat().st_size,
        }
        for path in sorted(package.rglob("*"))
        if path.is_file() and path.name not in ("edgegen.json", "evidence.json")
    ]
    change_manifest(package, files=files)


def failed_layers(package: Path) -> list[str]:
    """Return the layers of parity in which something failed."""
    checks = check_package(package, load_manifest(package)).checks
    return [it for it in LAYERS if any(c.layer == it and not c.passed for c in checks)]


def failed_components(package: Path) -> set[str]:
    checks = check_package(package, load_manifest(package)).checks
    failed = (it.name for it in checks if it.layer == "component" and not it.passed)
    return {name.partition(".")[0] for name in failed}


def evaluated(package: Path, model: ModelFolder) -> Evaluation:
    return evaluate_package(package, model=model, settings=SETTINGS)


def scale_weight(package: Path, component: str, layer: str, factor: float) -> None:
    """Multiply a layer's weight, as a codec would that doubles the scales of its blocks."""
    import onnx
    from onnx import numpy_helper

    path = package / component / "model.onnx"
    model = onnx.load(str(path))
    (weight,) = (it for it in model.graph.initializer if it.name == f"{layer}.weight")
    values = numpy_helper.to_array(weight) * np.float32(factor)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    shutil.rmtree(path.parent)
    path.parent.mkdir()
    onnx.save(model, str(path))


def change_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def another_scheduler(package: Path) -> None:
    def rename(index: dict[str, Any]) -> None:
        index["scheduler"] = ["diffusers", "EulerDiscreteScheduler"]

    change_json(package / "model_index.json", rename)


def tokenizer_off_by_one(package: Path) -> None:
    """Give every token the id of the next one; the special ones at the end stay."""

    def shift(vocabulary: dict[str, int]) -> None:
        special = [it for it in vocabulary if it.startswith("<|")]
        plain = sorted(set(vocabulary) - set(special), key=vocabulary.__getitem__)
        ids = [vocabulary[it] for it in plain]
        vocabulary.update(zip(plain, [*ids[1:], ids[0]], strict=True))

    change_json(package / "tokenizer" / "vocab.json", shift)


def test_the_package_that_they_are_made_of_passes_everywhere(
    package: Path, model: ModelFolder
) -> None:
    assert failed_layers(package) == []
    assert gate(evaluated(package, model), [PSNR]) == ()


def test_doubled_scales_of_a_layer_are_found_by_its_component(
    broken: Callable[[Break], Path], model: ModelFolder
) -> None:
    layer = "mid_block.resnets.0.conv1"
    package = broken(lambda folder: scale_weight(folder, "unet", layer, 2.0))
    assert failed_layers(package) == [*LAYERS]
    assert failed_components(package) == {"unet"}
    assert gate(evaluated(package, model), [PSNR])


@pytest.mark.parametrize(("factor", "fault"), [(1e30, "constant"), (1e38, "not finite")])
def test_a_decoder_that_overflows_is_found_by_its_component_and_by_its_pictures(
    factor: float, fault: str, broken: Callable[[Break], Path], model: ModelFolder
) -> None:
    package = broken(lambda folder: scale_weight(folder, "vae_decoder", "decoder.conv_in", factor))
    assert failed_layers(package) == ["component", "image"]
    assert failed_components(package) == {"vae_decoder"}
    found = evaluated(package, model)
    assert {it.fault for it in found.pictures} == {fault}
    (lost,) = gate(found, [])  # without any limit
    assert f"3 of 3 pictures show nothing ({fault})" in lost.why


def test_another_scheduler_is_found_by_the_trajectory(
    broken: Callable[[Break], Path], model: ModelFolder
) -> None:
    package = broken(another_scheduler)
    assert failed_layers(package) == ["trajectory", "image"]
    assert gate(evaluated(package, model), [PSNR])


def test_a_tokenizer_that_is_off_by_one_is_found_by_the_trajectory(
    broken: Callable[[Break], Path], model: ModelFolder
) -> None:
    package = broken(tokenizer_off_by_one)
    assert failed_layers(package) == ["trajectory", "image"]
    assert gate(evaluated(package, model), [PSNR])


@pytest.mark.slow  # builds a package of the other revision
def test_weights_of_another_revision_are_found_by_what_they_are_compared_with(
    package: Path, model: ModelFolder, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    other = resolve(str(tiny_pipeline("sd15", seed=1)))
    built = build(plan(other, target="onnx", recipe="fp32", destination=tmp_path / "other")).path
    # One component of the other revision: its own golden case finds it.
    mixed = tmp_path / "mixed"
    shutil.copytree(package, mixed)
    shutil.rmtree(mixed / "unet")
    shutil.copytree(built / "unet", mixed / "unet")
    seal(mixed)
    assert failed_components(mixed) == {"unet"}
    with pytest.raises(ParityError, match=r"unet\."):
        require(check_package(mixed, load_manifest(mixed)), load_manifest(mixed))
    # All of it, which says that it is what it isn't: only torch with the right weights finds it.
    source = json.loads((package / "edgegen.json").read_text())["source"]
    change_manifest(built, source=source)
    assert failed_layers(built) == []
    assert gate(evaluated(built, model), [PSNR])
    full = verify_package(built, full=True, model=model.source)
    assert not full.run.passed
    # A model that isn't the one in the manifest isn't compared with at all.
    with pytest.raises(SourceError, match="does not hold the weights"):
        evaluated(built, other)
