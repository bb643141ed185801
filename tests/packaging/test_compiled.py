"""What --npu makes of a plan, of a manifest and of the choice of a runtime."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from edgegen_runner.contexts import CONTEXTS
from edgegen_runner.package import load_package

from edgegen.core.codec import decode, dump_json, load_json_object
from edgegen.core.errors import ConfigError, IntegrityError
from edgegen.core.manifest import load_manifest
from edgegen.core.package import MANIFEST_NAME, PackageManifest
from edgegen.core.profile import RuntimeOptions
from edgegen.core.recipe import Rule
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.devices.profiles import load_profile
from edgegen.devices.store import shipment
from edgegen.exporters.base import CompiledComponent, ExportResult, resolve_options
from edgegen.exporters.onnx.options import OnnxOptions
from edgegen.models.source import resolve
from edgegen.packaging.candidate import Npu, make_candidate, runtime_of
from edgegen.packaging.compiled import compiled_for, compiler_needs, for_npu, on_npu
from edgegen.packaging.integrity import check_listing
from edgegen.packaging.model_facts import read_facts
from edgegen.runner.backend_choice import Wishes, backend_here, backend_of
from edgegen.runner.guess import guess
from edgegen.runner.runtimes import emulated_here, is_emulated
from tests.conftest import TinyPipeline
from tests.tiny_packages import COMPILED, for_chips, onnx_package

ONNX = load_target("onnx")
PHONE = load_profile("galaxy-s24-ultra")
CUT = replace(COMPILED, on_processor={"unet": 2}, contexts={"unet": 3}, effort=3)


def test_the_profiles_chip_is_compiled_for_with_fixed_shapes_and_one_sample() -> None:
    runtime = runtime_of(PHONE, ONNX, Npu())
    assert (runtime.chips, runtime.recipe) == (("snapdragon-8-gen-3",), "fp16")
    assert (runtime.operators, runtime.shapes, runtime.denoiser_batch) == ("plain", "fixed", 1)
    assert runtime.package == "onnxruntime-qnn"
    options = resolve_options(ONNX, load_recipe("fp16", ONNX), runtime, PHONE)
    assert isinstance(options, OnnxOptions)
    assert [it.soc_model for it in options.chips] == [57]


def test_a_chip_that_is_given_goes_before_the_profiles_and_needs_none() -> None:
    assert runtime_of(PHONE, ONNX, Npu(chips=("SM8750",))).chips == ("snapdragon-8-elite",)
    assert runtime_of(None, ONNX, Npu(chips=("qcs9075",))).chips == ("qcs9075",)


def test_several_chips_are_compiled_for_in_their_order_and_each_once() -> None:
    npu = Npu(chips=("SM8750", "snapdragon-8-gen-3", "snapdragon-8-elite"))
    assert runtime_of(PHONE, ONNX, npu).chips == ("snapdragon-8-elite", "snapdragon-8-gen-3")


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
        resolve_options(
            ONNX, recipe, for_npu(given, None, ("SM8650", "qcs6490"), allow_processor=allow), None
        )
    assert "without --npu" in caught.value.hint


def test_the_autoencoder_stays_in_floats_unless_the_recipe_says_otherwise(
    tiny_pipeline: TinyPipeline,
) -> None:
    facts = read_facts(resolve(str(tiny_pipeline("sd15"))))
    recipe = load_recipe("int8-static-a16", ONNX)
    candidate = make_candidate(facts, ONNX, recipe, npu=Npu(chips=("SM8650",)))
    stored = {
        it.name: (rules.storage_of("x"), rules.activations_of("x"))
        for it in candidate.components
        for rules in [candidate.recipe.of(it)]
    }
    assert stored == {
        "text_encoder": ("int8", "int16"),
        "unet": ("int8", "int16"),
        "vae_decoder": ("float16", "float"),
        "vae_encoder": ("float16", "float"),
    }
    assert candidate.recipe.calibrated(candidate.components) == ("text_encoder", "unet")
    own = replace(recipe, rules=(Rule(role="decoder", storage="int8", activations="int16"),))
    (decoder,) = [it for it in candidate.components if it.role == "decoder"]
    assert on_npu(own).of(decoder).activations_of("x") == "int16"
    assert on_npu(own).calibrated([decoder]) == ("vae_decoder",)
    floats = load_recipe("fp16", ONNX)
    assert on_npu(floats) is floats


def result(**compiled: CompiledComponent) -> ExportResult:
    return ExportResult(
        path="model.onnx",
        storage_bytes=1,
        operator_sets={},
        toolkits={},
        compiled={name.replace("_", "-"): it for name, it in compiled.items()},
    )


def test_the_manifest_says_what_the_compiler_made_and_left() -> None:
    def made(left: int, contexts: int) -> CompiledComponent:
        return CompiledComponent(
            compiler="onnxruntime-qnn 2.7.0",
            sdk="v2.51",
            vtcm_bytes=8 << 20,
            on_processor=left,
            contexts=contexts,
        )

    one, other = "snapdragon-8-gen-3", "snapdragon-8-elite"
    results = {
        "text_encoder": result(snapdragon_8_gen_3=made(0, 1), snapdragon_8_elite=made(0, 1)),
        "unet": result(snapdragon_8_gen_3=made(2, 3), snapdragon_8_elite=made(0, 1)),
    }
    assert compiled_for((one,), results) == (CUT,)
    first, second = compiled_for((one, other), results)
    assert first == replace(CUT, folder=one)
    assert (second.part, second.on_processor, second.folder) == ("SM8750", {}, other)
    assert compiled_for((), {"unet": result()}) == ()
    (need,) = compiler_needs((first, second))
    assert (need.runtime, need.version) == ("onnxruntime_qnn", "2.7.0")
    assert compiler_needs(()) == ()


@pytest.fixture
def compiled_package(tiny_onnx_package: Path, tmp_path: Path) -> Path:
    """A manifest that says it was compiled, over a package's folder."""
    package = tmp_path / "compiled"
    package.mkdir()
    for path in tiny_onnx_package.iterdir():
        if path.name != MANIFEST_NAME:
            (package / path.name).symlink_to(path)
    data = load_json_object(tiny_onnx_package / MANIFEST_NAME)
    manifest = decode(PackageManifest, data, source="test")
    text = dump_json(replace(manifest, compiled=(CUT,)))
    (package / MANIFEST_NAME).write_text(text, encoding="utf-8")
    return package


@pytest.mark.parametrize("held", [None, "one"])
def test_a_manifest_of_before_there_were_several_chips_is_read(
    held: str | None, compiled_package: Path
) -> None:
    path = compiled_package / MANIFEST_NAME
    data = load_json_object(path)
    data["compiled"] = data["compiled"][0] if held else None
    path.write_text(json.dumps(data), encoding="utf-8")
    assert load_manifest(compiled_package).compiled == ((CUT,) if held else ())


def test_a_device_needs_its_own_chips_files_and_a_silent_one_all(tmp_path: Path) -> None:
    one, other = "snapdragon-8-gen-3", "snapdragon-8-elite"
    package = for_chips(onnx_package(tmp_path / "package"), one, other)
    manifest = load_manifest(package)
    paths = {it.path for it in manifest.files}
    own = {it.path for it in manifest.files_for(one)}
    assert paths - own == {f"{it.spec.name}/{other}/model.onnx" for it in manifest.components}
    assert manifest.files_for(None) == manifest.files
    whole, part = shipment(package), shipment(package, chip=one)
    assert {it.path for it in part.files} == {*own, MANIFEST_NAME}
    assert part.version == f"{whole.version}-{one}"
    assert part.size_bytes < whole.size_bytes


def test_each_chips_graphs_have_to_be_listed(tmp_path: Path) -> None:
    package = for_chips(
        onnx_package(tmp_path / "package"), "snapdragon-8-gen-3", "snapdragon-8-elite"
    )
    manifest = load_manifest(package)
    check_listing(package, manifest)
    lost = "unet/snapdragon-8-elite/model.onnx"
    files = tuple(it for it in manifest.files if it.path != lost)
    with pytest.raises(IntegrityError, match=f"{lost}, of unet, is not listed"):
        check_listing(package, replace(manifest, files=files))


def test_a_compiled_package_is_run_by_what_loads_contexts(compiled_package: Path) -> None:
    manifest = load_manifest(compiled_package)
    assert (manifest.target, manifest.runs_as) == ("onnx", CONTEXTS)
    assert backend_here(manifest.runs_as, Wishes()).name == "onnxruntime_qnn"
    guessed = guess(compiled_package, None)
    assert guessed is None or guessed.runtime == "onnxruntime_qnn"


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
    text = dump_json(replace(manifest, compiled=(CUT,)))
    (package / MANIFEST_NAME).write_text(text, encoding="utf-8")
    read = load_package(package)
    assert read.target == CONTEXTS
    compiled = {name: it.compiled for name, it in read.components.items()}
    assert all(it is not None and it.part == "SM8650" for it in compiled.values())
    left = {name: it.on_processor for name, it in compiled.items() if it is not None}
    assert left.pop("unet") == 2
    assert not any(left.values())
