"""`edgegen verify`: bytes, manifest, parity; its exit codes, and what it writes down."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.cli.main import run as run_command_line
from edgegen.core.codec import dump_json, load_json
from edgegen.core.errors import ConfigError, IntegrityError, SourceError
from edgegen.core.model import PipelineSpec
from edgegen.core.package import (
    Artifact,
    Evidence,
    ModelSource,
    PackagedComponent,
    PackageManifest,
    StageCost,
)
from edgegen.core.progress import SilentProgress
from edgegen.models.pipeline_source import SourceSpec, folder_source
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.packaging import verify as verifying
from edgegen.packaging.source_hash import weights_sha256
from edgegen.packaging.verify import verify_package
from edgegen.reference.run import GoldenRun
from tests.conftest import TinyPipeline
from tests.parity.faithful_side import CASE, MANIFEST, FaithfulSide, write_golden_case

CONVERSION = StageCost(stage="convert unet", wall_s=1, cpu_s=2, peak_memory_bytes=3)


def seal(package: Path, manifest: PackageManifest = MANIFEST) -> PackageManifest:
    listed = [path for path in sorted(package.rglob("*")) if path.is_file()]
    files = tuple(
        Artifact(
            path=path.relative_to(package).as_posix(),
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            size_bytes=path.stat().st_size,
        )
        for path in listed
        if path.name not in ("edgegen.json", "evidence.json")
    )
    manifest = dataclasses.replace(manifest, files=files)
    (package / "edgegen.json").write_text(dump_json(manifest))
    return manifest


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    write_golden_case(folder / CASE.folder)
    for component in MANIFEST.components:
        path = folder / component.path
        path.parent.mkdir()
        path.write_bytes(b"\x08\x08")  # a model that only has a version
    seal(folder)
    return folder


@pytest.fixture
def side(package: Path, monkeypatch: pytest.MonkeyPatch) -> FaithfulSide:
    """Put a stand-in for the runner into whatever verifies."""
    faithful = FaithfulSide(package)
    monkeypatch.setattr("edgegen.parity.gate._runner_side", lambda _: faithful)
    return faithful


def evidence_of(package: Path) -> Evidence:
    return load_json(Evidence, package / "evidence.json")


def test_a_good_package_ends_with_0_and_leaves_evidence(
    package: Path, side: FaithfulSide, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["verify", str(package)]) == 0
    shown = capsys.readouterr().out
    assert "7 of 7 checks passed" in shown
    assert "every byte is as it was built" in shown
    assert shown.count("text_encoder.") == 1  # the worst of each component
    assert run_command_line(["verify", str(package), "--verbose"]) == 0
    assert capsys.readouterr().out.count("text_encoder.") == 2
    evidence = evidence_of(package)
    assert len(evidence.parity) == 7
    digest = hashlib.sha256((package / "edgegen.json").read_bytes()).hexdigest()
    assert evidence.manifest_sha256 == digest


def test_a_package_that_computes_something_else_ends_with_4(
    package: Path, side: FaithfulSide, capsys: pytest.CaptureFixture[str]
) -> None:
    side.tampering["unet.out_sample"] = lambda value: value * np.float32(1.1)
    assert run_command_line(["verify", str(package)]) == 4
    captured = capsys.readouterr()
    assert "FAILED" in captured.out
    assert "unet.out_sample" in captured.err
    assert "--recipe fp16-storage" in captured.err
    assert [check.name for check in evidence_of(package).parity if not check.passed] == [
        "unet.out_sample"
    ]


def test_a_package_with_other_bytes_ends_with_8_and_is_never_run(
    package: Path, side: FaithfulSide, capsys: pytest.CaptureFixture[str]
) -> None:
    side.probe = lambda *_: pytest.fail("it was run")  # type: ignore[method-assign]
    path = package / "unet" / "model.onnx"
    path.write_bytes(b"\x08\x09")
    assert run_command_line(["verify", str(package)]) == 8
    assert "unet/model.onnx" in capsys.readouterr().err
    assert not (package / "evidence.json").exists()


def test_what_is_no_package_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["verify", str(tmp_path / "nothing")]) == 2
    assert "There is no package" in capsys.readouterr().err


def test_json_holds_every_check_also_of_a_failure(
    package: Path, side: FaithfulSide, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["--quiet", "verify", str(package), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {check["layer"] for check in data["parity"]} == {"component", "trajectory", "image"}
    side.tampering["pixels"] = np.zeros_like
    assert run_command_line(["--quiet", "verify", str(package), "--json"]) == 4
    captured = capsys.readouterr()
    failed = [check for check in json.loads(captured.out)["parity"] if not check["passed"]]
    assert [check["layer"] for check in failed] == ["image"]
    assert "image pixels" in captured.err


def test_what_the_build_cost_is_kept_and_what_ran_now_is_replaced(
    package: Path, side: FaithfulSide
) -> None:
    old_parity = StageCost(stage="parity", wall_s=99, cpu_s=99, peak_memory_bytes=None)
    digest = hashlib.sha256((package / "edgegen.json").read_bytes()).hexdigest()
    known = Evidence(manifest_sha256=digest, costs=(CONVERSION, old_parity))
    (package / "evidence.json").write_text(dump_json(known))
    verify_package(package)
    costs = evidence_of(package).costs
    assert [cost.stage for cost in costs] == ["convert unet", "parity"]
    assert costs[0] == CONVERSION
    assert costs[1].wall_s < 99


@pytest.mark.parametrize("content", ["no json", '{"manifest_sha256": "of another package"}'])
def test_evidence_of_something_else_is_not_believed(
    content: str, package: Path, side: FaithfulSide
) -> None:
    (package / "evidence.json").write_text(content)
    verify_package(package)
    assert [cost.stage for cost in evidence_of(package).costs] == ["parity"]


def test_a_model_without_full_is_refused(package: Path) -> None:
    with pytest.raises(ConfigError, match="--model is for --full"):
        verify_package(package, model="builtin:emoji")


def test_without_a_golden_case_full_is_what_to_do(package: Path, side: FaithfulSide) -> None:
    seal(package, dataclasses.replace(MANIFEST, golden=None))
    with pytest.raises(IntegrityError) as caught:
        verify_package(package)
    assert "--full" in caught.value.hint


class TestFull:
    """Against the model, its weights hashed; torch itself is played here."""

    @pytest.fixture
    def model(self, tiny_pipeline: TinyPipeline) -> Path:
        return tiny_pipeline("sd15")

    @pytest.fixture
    def manifest(self, model: Path, package: Path) -> PackageManifest:
        """Seal the package as one of two components of the model, with a fixed batch."""
        spec = read_pipeline(resolve(str(model)))
        chosen = [it for it in spec.components if it.name in ("unet", "text_encoder")]
        manifest = dataclasses.replace(
            MANIFEST,
            source=ModelSource(
                model=str(model),
                revision=None,
                weights_sha256=weights_sha256(model, chosen, SilentProgress()),
                licence=None,
            ),
            components=tuple(
                PackagedComponent(spec=it, path=f"{it.name}/model.onnx", storage_bytes=1)
                for it in chosen
            ),
        )
        return seal(package, manifest)

    @pytest.fixture(autouse=True)
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        """Play torch: no files are made, and what it was asked for is kept."""
        calls: list[dict[str, Any]] = []

        def play(
            spec: PipelineSpec, source: SourceSpec, destination: Path, **options: Any
        ) -> GoldenRun:
            calls.append({"spec": spec, "source": source, "destination": destination, **options})
            cost = StageCost(stage="reference", wall_s=1, cpu_s=1, peak_memory_bytes=None)
            return GoldenRun(case=CASE, cost=cost, peak_weight_bytes=0)

        def check(package: Path, manifest: PackageManifest, **options: Any) -> Any:
            calls.append(options)
            return _passing_run()

        monkeypatch.setattr(verifying, "make_golden", play)
        monkeypatch.setattr(verifying, "check_package", check)
        return calls

    def test_torch_runs_the_components_as_they_were_packaged_at_full_size(
        self, model: Path, package: Path, manifest: PackageManifest, asked: list[dict[str, Any]]
    ) -> None:
        verification = verify_package(package, full=True)
        torch_run, comparison = asked
        assert torch_run["full"] is True
        assert torch_run["source"] == folder_source(model)
        assert torch_run["spec"].components == tuple(it.spec for it in manifest.components)
        assert comparison["folder"] == torch_run["destination"]
        assert comparison["case"] == CASE
        assert not torch_run["destination"].exists()  # nothing is left behind
        assert [cost.stage for cost in verification.evidence.costs] == ["reference", "parity"]

    def test_other_weights_are_refused(
        self, package: Path, manifest: PackageManifest, tiny_pipeline: TinyPipeline
    ) -> None:
        other = tiny_pipeline("sd15", seed=1)
        with pytest.raises(SourceError, match="does not hold the weights"):
            verify_package(package, full=True, model=str(other))

    def test_another_family_is_refused(
        self, package: Path, manifest: PackageManifest, tiny_pipeline: TinyPipeline
    ) -> None:
        with pytest.raises(SourceError, match="is another model"):
            verify_package(package, full=True, model=str(tiny_pipeline("ddpm")))

    def test_a_model_that_is_gone_can_be_given(
        self, package: Path, manifest: PackageManifest, model: Path
    ) -> None:
        source = dataclasses.replace(manifest.source, model="sd15")  # as of a local folder
        seal(package, dataclasses.replace(manifest, source=source))
        with pytest.raises(SourceError, match="cannot be read") as caught:
            verify_package(package, full=True)
        assert caught.value.hint.startswith("Give its folder or file with --model.")
        assert verify_package(package, full=True, model=str(model)).run.passed


def _passing_run() -> Any:
    from edgegen.core.package import ParityCheck
    from edgegen.parity.gate import ParityRun

    check = ParityCheck(
        layer="image",
        name="pixels",
        psnr_db=70.0,
        threshold_db=60.0,
        max_abs_error=0.0,
        passed=True,
    )
    cost = StageCost(stage="parity", wall_s=1, cpu_s=1, peak_memory_bytes=None)
    return ParityRun(checks=(check,), cost=cost)
