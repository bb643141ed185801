"""Several packages of one model: what is shared, what is not, and what a failure leaves."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from edgegen.cli.main import run
from edgegen.core.codec import load_json
from edgegen.core.errors import EdgegenError, ExportError, ParityError
from edgegen.core.package import EVIDENCE_NAME, MANIFEST_NAME, Evidence
from edgegen.models.source import resolve
from edgegen.packaging import batch as batches
from edgegen.packaging.batch import Batch, Built, build_all
from edgegen.packaging.build import build
from edgegen.packaging.plan import BuildPlan, plan
from edgegen.reference import run as reference
from tests.conftest import TinyPipeline

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
TARGETS = ("onnx", "openvino", "coreml", "tflite")
UNHOLDABLE = """\
name = "unholdable"
description = "Rounds so much that no image is the same."
storage = "int8"
compute = "float32"
tolerance = { component_psnr_db = 300.0, trajectory_psnr_db = 300.0, image_psnr_db = 300.0 }
"""


def plans_of(
    folder: Path, out: Path, packages: Sequence[tuple[str, str | None]]
) -> list[BuildPlan]:
    model = resolve(str(folder))
    return [
        plan(
            model, target=target, recipe=recipe, destination=out / target, in_folder_of_its_own=True
        )
        for target, recipe in packages
    ]


def contents(package: Path) -> dict[str, str]:
    """Return the hash of every file but those that say what the build cost."""
    return {
        path.relative_to(package).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in package.rglob("*")
        if path.is_file() and path.name != EVIDENCE_NAME
    }


@pytest.fixture(scope="module")
def unholdable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "unholdable.toml"
    path.write_text(UNHOLDABLE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def batch(tiny_pipeline: TinyPipeline, place: Path, unholdable: Path) -> Batch:
    """One package for each target, and one more of the last target, which fails."""
    packages = [*((it, None) for it in TARGETS), (TARGETS[-1], str(unholdable))]
    with pytest.MonkeyPatch.context() as patched:
        # The golden cases are made in the exporter's process: another would be missing.
        patched.setattr(reference, "WORKER", "edgegen.no_such_worker")
        return build_all(plans_of(tiny_pipeline("ddpm"), place, packages))


@pytest.fixture(scope="module")
def together(batch: Batch) -> list[Built]:
    return [made for made in batch.packages if isinstance(made, Built)]


def costs_of(built: Built) -> dict[str, int]:
    return {
        cost.stage: cost.packages for cost in load_json(Evidence, built.path / EVIDENCE_NAME).costs
    }


def test_packages_that_are_built_together_share_toolkits_and_one_run_of_torch(
    together: list[Built],
) -> None:
    assert len(together) == len(TARGETS)
    for built in together:
        costs = costs_of(built)
        assert costs["import the toolkits"] == costs["reference"] == len(TARGETS) + 1
        assert costs["convert unet"] == costs["parity"] == 1


def test_a_component_is_captured_once_for_all_recipes_of_a_target(together: list[Built]) -> None:
    assert costs_of(together[-1])["capture unet"] == 2


def test_a_package_that_fails_leaves_the_others_in_their_places(batch: Batch, place: Path) -> None:
    *built, failed = batch.packages
    assert isinstance(failed, ParityError)
    names = {made.path.name for made in built if isinstance(made, Built)}
    assert len(names) == len(TARGETS)
    assert {path.name for path in place.iterdir()} == names
    assert all((place / name / MANIFEST_NAME).is_file() for name in names)


@pytest.mark.slow
def test_an_artifact_has_the_bytes_that_it_has_when_it_is_built_by_itself(
    together: list[Built], tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    (alone,) = plans_of(tiny_pipeline("ddpm"), tmp_path, [(TARGETS[0], None)])

    expected = contents(build(alone, parity=False).path / "unet")

    assert expected
    assert contents(together[0].path / "unet") == expected


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_package_has_the_bytes_that_it_has_when_it_is_built_by_itself(
    together: list[Built], tiny_pipeline: TinyPipeline, tmp_path: Path, target: str
) -> None:
    (alone,) = plans_of(tiny_pipeline("ddpm"), tmp_path, [(target, None)])

    expected = contents(build(alone).path)

    assert contents(together[TARGETS.index(target)].path) == expected


def test_the_command_says_which_package_failed_and_ends_with_its_code(
    tiny_pipeline: TinyPipeline, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(tiny_pipeline("ddpm"), tmp_path / "model"))
    path = folder / WEIGHTS
    weights = load_file(path)
    weights["mid_block.resnets.0.conv1.weight"] *= 1e8  # more than float16 holds
    save_file(weights, path)
    packages = ["-t", "tflite:fp16-storage", "-t", "tflite:fp32", "--skip-parity"]

    code = run(["package", str(folder), *packages, "-o", str(tmp_path / "out"), "--json"])

    captured = capfd.readouterr()
    failed, built = json.loads(captured.out)["packages"]
    assert code == ExportError.exit_code == failed["error"]["exit_code"]
    assert failed["error"]["kind"] == "ExportError"
    assert "error: tflite fp16-storage: 'mid_block.resnets.0.conv1.weight'" in captured.err
    assert (Path(built["path"]) / MANIFEST_NAME).is_file()
    assert "2 of 2: tflite fp32, hashing the package" in captured.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"tflite-fp32"}


def test_what_ends_the_shared_part_ends_all_packages_with_one_error(
    tiny_pipeline: TinyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "WORKER", "edgegen.no_such_worker")
    packages = [("onnx", None), ("tflite", None)]
    plans = plans_of(tiny_pipeline("ddpm"), tmp_path / "out", packages)

    outcomes = build_all(plans, parity=False).packages

    assert all(isinstance(outcome, EdgegenError) for outcome in outcomes)
    assert not (tmp_path / "out").exists()
