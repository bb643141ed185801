"""A package that is given LoRAs is verified, evaluated, compared: with the model that has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgegen.cli.main import run as edgegen
from edgegen.core.codec import load_json
from edgegen.core.errors import ConfigError, SourceError
from edgegen.core.evaluation import Evaluation
from edgegen.core.manifest import load_manifest
from edgegen.core.package import EVIDENCE_NAME
from edgegen.core.progress import SilentProgress
from edgegen.core.recipes import load_recipe
from edgegen.core.shipped import shipped
from edgegen.core.targets import load_target
from edgegen.devices.profiles import load_profile
from edgegen.models.source import resolve
from edgegen.packaging.candidate import make_candidate
from edgegen.packaging.model_facts import read_facts
from edgegen.packaging.packaged_model import counterpart_of, drawn_weights_sha256
from edgegen.packaging.verify import verify_package
from tests.adapters.test_as_inputs import COMPONENTS, LEAST_PSNR_DB, STEPS, adapter, built
from tests.adapters.writers import kohya
from tests.conftest import TinyPipeline
from tests.shared import built_once
from tests.tiny_packages import onnx_package

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FEW = ("--suite", "stress", "--pictures", "2", "--no-history")


@pytest.fixture(scope="module")
def package(tiny_pipeline: TinyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of `test_as_inputs`."""
    return built_once(
        tmp_path_factory, "loras-as-inputs", lambda place: built(tiny_pipeline("sd15"), place)
    )


@pytest.fixture
def ink(tiny_pipeline: TinyPipeline, tmp_path: Path) -> Path:
    model = tiny_pipeline("sd15")
    return adapter(model, tmp_path / "ink.safetensors", "lora", kohya, COMPONENTS["sd15"])


@pytest.mark.slow
def test_verify_compares_every_layer_with_the_model_that_has_the_lora(
    package: Path,
    tiny_pipeline: TinyPipeline,
    ink: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, before = tiny_pipeline("sd15"), (package / EVIDENCE_NAME).read_bytes()
    command = ["verify", str(package), "--full", "--model", str(model), "--lora"]
    assert edgegen([*command, f"{ink}:0.7", "--json"]) == 0
    printed = capsys.readouterr()
    checks = json.loads(printed.out)["parity"]
    assert {check["layer"] for check in checks} == {"component", "trajectory", "image"}
    assert all(check["passed"] for check in checks)
    assert "It is of the package with ink:0.7 (" in printed.err
    assert (package / EVIDENCE_NAME).read_bytes() == before


@pytest.mark.slow
def test_verify_fails_where_the_package_draws_with_another_scale(
    package: Path, tiny_pipeline: TinyPipeline, ink: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is compared is the LoRA: the model has all of it, and the package a tenth."""
    from edgegen.packaging import packaged_model

    whole, lora_for = str(ink), packaged_model.lora_for
    monkeypatch.setattr(
        packaged_model, "lora_for", lambda manifest, _: lora_for(manifest, [f"{ink}:0.1"])
    )
    found = verify_package(package, full=True, model=str(tiny_pipeline("sd15")), loras=[whole])
    assert not found.run.passed
    failed = {(check.layer, check.name) for check in found.run.checks if not check.passed}
    assert ("component", "unet.out_sample") in failed
    assert ("image", "pixels") in failed


@pytest.mark.slow
def test_evaluate_and_compare_with_a_lora(
    package: Path,
    tiny_pipeline: TinyPipeline,
    ink: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, merged, out = tiny_pipeline("sd15"), tmp_path / "merged", tmp_path / "quality"
    build = ["package", str(model), "-t", "onnx", "-r", "fp32", "--steps", str(STEPS)]
    given = ["--model", str(model), "--lora", f"{ink}:0.7"]
    assert edgegen([*build, "--lora", f"{ink}:0.7", "--skip-parity", "-o", str(merged)]) == 0

    evaluate = ["evaluate", str(package), str(merged), *given, *FEW]
    assert edgegen([*evaluate, "--reference-steps", str(STEPS), "-o", str(out)]) == 0
    assert "with ink:0.7 (" in capsys.readouterr().out
    beside, inside = (load_json(Evaluation, it) for it in sorted(out.glob("*/evaluation.json")))
    beside, inside = (beside, inside) if beside.loras else (inside, beside)
    assert (len(beside.loras), len(inside.loras)) == (1, 0)
    assert beside.weights_sha256 == inside.weights_sha256
    for each in (beside, inside):
        for picture in each.pictures:
            ratio_db = picture.scores["psnr"]
            assert ratio_db is None or ratio_db >= LEAST_PSNR_DB

    assert edgegen(["compare", str(package), str(merged), *given, *FEW[:4], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pictures"] == 2
    assert found["worse_pictures"] == []

    assert edgegen(["evaluate", str(package), *FEW, "--model", str(model), "-o", str(out)]) == 0
    plain = load_json(Evaluation, out / "evaluation.json")
    assert plain.loras == ()
    assert plain.weights_sha256 == load_manifest(package).source.weights_sha256
    assert edgegen(["compare", str(package), str(merged), *FEW[:4]]) != 0
    assert "with other weights" in capsys.readouterr().err


def test_the_loras_of_a_packages_weights_come_first(
    package: Path, tiny_pipeline: TinyPipeline, ink: Path
) -> None:
    manifest, model = load_manifest(package), str(tiny_pipeline("sd15"))
    with counterpart_of(manifest, model, [f"{ink}:0.7"]) as side:
        assert side.model is not None
        assert side.model.path == tiny_pipeline("sd15")
        assert side.given is not None
        assert side.given.file.is_file()
        file, (name,) = side.given.file, side.given.names
        drawn = drawn_weights_sha256(manifest, side.given, SilentProgress())
    assert name.startswith("ink:0.7 (")
    assert not file.exists()
    assert drawn != manifest.source.weights_sha256
    with counterpart_of(manifest, model) as side:
        assert side.given is None
    own = drawn_weights_sha256(manifest, None, SilentProgress())
    assert own == manifest.source.weights_sha256


def test_a_package_whose_weights_are_fixed_says_which_package_takes_a_lora(
    tiny_onnx_package: Path, tiny_pipeline: TinyPipeline, ink: Path
) -> None:
    model = str(tiny_pipeline("sd15"))
    with pytest.raises(SourceError, match="a model with no adapter") as refused:
        verify_package(tiny_onnx_package, full=True, model=model, loras=[str(ink)])
    assert "--lora-as-input" in str(refused.value.hint)


def test_against_another_model_no_lora_is_given(
    package: Path, tiny_pipeline: TinyPipeline, ink: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(tiny_pipeline("sd15"))
    command = ["evaluate", str(package), "--model", model, "--lora", str(ink)]
    assert edgegen([*command, "--against", model]) == ConfigError.exit_code
    assert "draws without the LoRAs" in capsys.readouterr().err


def test_compare_measures_with_a_lora_only_where_a_package_takes_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = (onnx_package(tmp_path / name) for name in ("old", "new"))
    command = ["compare", str(old), str(new), "--no-quality", "--device", "local"]
    assert edgegen([*command, "--lora", "x.safetensors"]) == 2
    assert "--lora: with --no-quality" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (["choose", "builtin:emoji", "--device", "local"], "`lora_as_input = true`"),
        (["sensitivity", "builtin:emoji"], "--lora FILE"),
    ],
)
def test_what_judges_weights_says_what_to_do_about_loras_beside_them(
    command: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgegen([*command, "--lora-as-input"]) == ConfigError.exit_code
    assert hint in capsys.readouterr().err


def test_a_profile_can_want_packages_that_take_loras(
    tmp_path: Path, tiny_pipeline: TinyPipeline
) -> None:
    text = (shipped("profiles") / "x86-mini-pc.toml").read_text(encoding="utf-8")
    wanted = text.replace('target = "onnx"\n', 'target = "onnx"\nlora_as_input = true\n')
    (tmp_path / "mine.toml").write_text(wanted, encoding="utf-8")
    profile, target = load_profile(str(tmp_path / "mine.toml")), load_target("onnx")
    facts = read_facts(resolve(str(tiny_pipeline("sd15"))))
    made = make_candidate(facts, target, load_recipe("fp32", target), profile=profile)
    assert made.runtime.lora_as_input
