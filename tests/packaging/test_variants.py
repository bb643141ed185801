"""A folder with weights in several variants: which of them a package is made from, and who says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from edgegen.cli.main import run
from edgegen.core.manifest import load_manifest

UNET = "unet/diffusion_pytorch_model.safetensors"
UNET_FP16 = "unet/diffusion_pytorch_model.fp16.safetensors"
WEIGHT = "mid_block.resnets.0.conv1.weight"


@pytest.fixture(scope="module")
def model(tiny_pipeline, tmp_path_factory) -> Path:
    """Return a pipeline that has other weights as fp16 than as plain files."""
    folder = tmp_path_factory.mktemp("variants") / "model"
    shutil.copytree(tiny_pipeline("ddim"), folder)
    other = tiny_pipeline("ddim", dtype="float16", seed=1)
    shutil.copy(other / UNET, folder / UNET_FP16)
    return folder


@pytest.fixture
def edgegen(capsys):
    def call(*arguments: object, code: int = 0) -> str:
        exit_code = run([str(argument) for argument in arguments])
        output = "".join(capsys.readouterr())
        assert exit_code == code, output
        return output

    return call


@pytest.mark.slow
def test_a_package_has_the_weights_of_its_variant(model, tmp_path, edgegen):
    package = tmp_path / "package"

    output = edgegen(
        "package", model, "-t", "onnx", "-r", "fp32", "-o", package, "--variant", "fp16"
    )

    stored = (package / "unet/model.onnx_data").read_bytes()
    assert load_file(model / UNET_FP16)[WEIGHT].astype("float32").tobytes() in stored
    manifest = load_manifest(package)
    assert [it.spec.variant for it in manifest.components] == ["fp16"]
    assert manifest.source.variant == "fp16"
    assert "from fp16 of unet" in output


@pytest.mark.slow
def test_verifying_all_of_a_package_takes_its_variant_of_the_model(model, tmp_path, edgegen):
    package = tmp_path / "package"
    edgegen("package", model, "-t", "onnx", "-r", "fp32", "-o", package, "--variant", "fp16")
    edgegen("verify", package, "--full", "--model", model)


@pytest.mark.parametrize("command", ["inspect", "package"])
def test_what_is_taken_is_named_before_anything_is_built(model, command, tmp_path, edgegen):
    more = ["-t", "onnx", "-o", tmp_path / "package", "--dry-run"] if command == "package" else []

    plain, fp16 = (edgegen(command, model, *more, *it) for it in ([], ["--variant", "fp16"]))

    assert "Weights: the plain files" in plain
    assert "Weights: fp16 of unet" in fp16
    as_json = json.loads(edgegen(command, model, *more, "--variant", "fp16", "--json"))
    if command == "inspect":
        assert "--variant takes fp16" in plain
        assert as_json["components"][0]["files"] == [Path(UNET_FP16).name]
    else:
        assert as_json["plans"][0]["variants"] == {"unet": "fp16"}


@pytest.mark.parametrize("command", ["inspect", "package"])
def test_a_variant_that_no_component_has_is_refused(model, command, tmp_path, edgegen):
    more = ["-t", "onnx", "-o", tmp_path / "package"] if command == "package" else []

    output = edgegen(command, model, *more, "--variant", "fp61", code=9)

    assert "no weights of the variant 'fp61'" in output
    assert "Did you mean 'fp16'?" in output
