"""What --npu makes of a plan, of a manifest and of the choice of a runtime."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgegen_runner.contexts import CONTEXTS
from edgegen_runner.package import load_package

from edgegen.core.codec import decode, dump_json, load_json_object
from edgegen.core.errors import ConfigError
from edgegen.core.manifest import load_manifest
from edgegen.core.package import MANIFEST_NAME, Compiled, PackageManifest
from edgegen.core.profile import RuntimeOptions
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.devices.profiles import load_profile
from edgegen.exporters.base import CompiledComponent, ExportResult, resolve_options
from edgegen.exporters.onnx.options import OnnxOptions
from edgegen.packaging.candidate import Npu, runtime_of
from edgegen.packaging.compiled import compiled_for, compiler_needs, for_npu
from edgegen.runner.ahead import _guess
from edgegen.runner.backend_choice import Wishes, backend_here, backend_of
from edgegen.runner.runtimes import emulated_here, is_emulated

ONNX = load_target("onnx")
PHONE = load_profile("galaxy-s24-ultra")
COMPILED = Compiled(
    chip="snapdragon-8-gen-3",
    part="SM8650",
    architecture=75,
    soc_model=57,
    vtcm_bytes=8 << 20,
    compiler="onnxruntime-qnn 2.7.0",
    sdk="v2.51",
    on_processor={"unet": 2},
    contexts={"unet": 3},
)


def test_the_profiles_chip_is_compiled_for_with_fixed_shapes_and_one_sample() -> None:
    runtime = runtime_of(PHONE, ONNX, Npu())
    assert (runtime.chip, runtime.recipe) == ("snapdragon-8-gen-3", "fp16")
    assert (runtime.operators, runtime.shapes, runtime.denoiser_batch) == ("plain", "fixed", 1)
    assert runtime.package == "onnxruntime-qnn"
    options = resolve_options(ONNX, load_recipe("fp16", ONNX), runtime, PHONE)
    assert isinstance(options, OnnxOptions)
    assert options.chip is not None
    assert options.chip.soc_model == 57


def test_a_chip_that_is_given_goes_before_the_profiles_and_needs_none() -> None:
    assert runtime_of(PHONE, ONNX, Npu(chip="SM8750")).chip == "snapdragon-8-elite"
    assert runtime_of(None, ONNX, Npu(chip="qcs9075")).chip == "qcs9075"


@pytest.mark.parametrize("profile", [None, load_profile("raspberry-pi-5")])
def test_it_has_to_be_said_which_chip(profile: object) -> None:
    from edgegen.core.profile import DeviceProfile

    assert profile is None or isinstance(profile, DeviceProfile)
    with pytest.raises(ConfigError, match="not said which chip") as caught:
        runtime_of(profile, ONNX, Npu())
    assert "--chip" in caught.value.hint


def test_other_targets_are_not_compiled() -> None:
    with pytest.raises(ConfigError, match="not those of the target 'tflite'"):
        runtime_of(PHONE, load_target("tflite"), Npu())


@pytest.mark.parametrize("allow", [False, True])
def test_an_npu_without_floats_is_refused(allow: bool) -> None:
    given = RuntimeOptions(target="onnx", package="onnxruntime", recipe="fp16-storage")
    recipe = load_recipe("int8-static-a16", ONNX)
    with pytest.raises(ConfigError, match="computes integers only") as caught:
        resolve_options(ONNX, recipe, for_npu(given, None, "qcs6490", allow_processor=allow), None)
    assert "without --npu" in caught.value.hint


def result(compiled: CompiledComponent | None) -> ExportResult:
    return ExportResult(
        path="model.onnx", storage_bytes=1, operator_sets={}, toolkits={}, compiled=compiled
    )


def test_the_manifest_says_what_the_compiler_made_and_left() -> None:
    def made(left: int, contexts: int) -> ExportResult:
        return result(
            CompiledComponent(
                compiler="onnxruntime-qnn 2.7.0",
                sdk="v2.51",
                vtcm_bytes=8 << 20,
                on_processor=left,
                contexts=contexts,
            )
        )

    results = {"text_encoder": made(0, 1), "unet": made(2, 3)}
    assert compiled_for("snapdragon-8-gen-3", results) == COMPILED
    assert compiled_for(None, {"unet": result(None)}) is None
    (need,) = compiler_needs(COMPILED)
    assert (need.runtime, need.version) == ("onnxruntime_qnn", "2.7.0")
    assert compiler_needs(None) == ()


@pytest.fixture
def compiled_package(tiny_onnx_package: Path, tmp_path: Path) -> Path:
    """A manifest that says it was compiled, over a package's folder."""
    package = tmp_path / "compiled"
    package.mkdir()
    for path in tiny_onnx_package.iterdir():
        if path.name != MANIFEST_NAME:
            (package / path.name).symlink_to(path)
    data = load_json_object(tiny_onnx_package / MANIFEST_NAME)
    manifest = decode(PackageManifest, {**data, "compiled": None}, source="test")
    text = dump_json(PackageManifest(**{**_fields(manifest), "compiled": COMPILED}))
    (package / MANIFEST_NAME).write_text(text, encoding="utf-8")
    return package


def _fields(manifest: PackageManifest) -> dict[str, object]:
    return {name: getattr(manifest, name) for name in PackageManifest.__dataclass_fields__}


def test_a_compiled_package_is_run_by_what_loads_contexts(compiled_package: Path) -> None:
    manifest = load_manifest(compiled_package)
    assert (manifest.target, manifest.runs_as) == ("onnx", CONTEXTS)
    assert backend_here(manifest.runs_as, Wishes()).name == "onnxruntime_qnn"
    assert _guess(compiled_package, None) in (None, "onnxruntime_qnn")


def test_the_processors_runtime_does_not_run_it() -> None:
    with pytest.raises(ConfigError, match="onnxruntime does not run packages"):
        backend_of(None, CONTEXTS, Wishes(runtime="onnxruntime"))


def test_a_profile_without_a_chip_does_not_run_it() -> None:
    assert backend_of(PHONE, CONTEXTS, Wishes(profile=PHONE)).name == "onnxruntime_qnn"
    pi = load_profile("raspberry-pi-5")
    with pytest.raises(ConfigError, match="names no chip"):
        backend_of(pi, CONTEXTS, Wishes(profile=pi))


def test_an_x86_machine_emulates_the_npu_and_a_phone_does_not() -> None:
    assert is_emulated("onnxruntime_qnn", "x86_64")
    assert not is_emulated("onnxruntime_qnn", "aarch64")
    assert not is_emulated("onnxruntime", "x86_64")
    assert not emulated_here("onnx")


def test_the_runner_reads_the_chip_of_each_component(
    tiny_onnx_package: Path, tmp_path: Path
) -> None:
    import shutil

    package = tmp_path / "compiled"
    shutil.copytree(tiny_onnx_package, package)
    manifest = load_manifest(package)
    text = dump_json(PackageManifest(**{**_fields(manifest), "compiled": COMPILED}))
    (package / MANIFEST_NAME).write_text(text, encoding="utf-8")
    read = load_package(package)
    assert read.target == CONTEXTS
    compiled = {name: it.compiled for name, it in read.components.items()}
    assert all(it is not None and it.part == "SM8650" for it in compiled.values())
    left = {name: it.on_processor for name, it in compiled.items() if it is not None}
    assert left.pop("unet") == 2
    assert not any(left.values())
