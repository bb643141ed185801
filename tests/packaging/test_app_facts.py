"""What `package` tells the author of an app."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.cli.main import run
from edgegen.core.manifest import load_manifest
from edgegen.devices.profiles import load_profile
from edgegen.families import facts_of
from edgegen.models.model_folder import ModelFolder
from edgegen.models.source import resolve
from edgegen.packaging.app_facts import app_facts
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from tests.conftest import TinyPipeline
from tests.tiny_packages import torch_package


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "needs_encoder"),
    [
        ("sd15", False),
        pytest.param("sd-inpaint", True, marks=pytest.mark.slow),
        pytest.param("sdxl-refiner", True, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_size_in_the_app_leaves_out_what_drawing_does_not_need(
    family: str, needs_encoder: bool, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    source = tiny_pipeline(family)
    planned = plan(
        ModelFolder(path=source, source=str(source)),
        target="coreml",
        destination=tmp_path / "package",
        profile=load_profile("iphone-15-pro"),
    )
    built = build(planned, parity=False)
    facts = app_facts(planned, load_manifest(built.path), built.path)
    assert facts.oldest_systems == "iOS 17, macOS 14"
    assert facts.attention == "split-einsum"
    assert ("vae_encoder" in facts.left_out) is not needs_encoder
    carried = sum(
        path.stat().st_size
        for path in built.path.rglob("*")
        if path.is_file()
        and path.name not in ("edgegen.json", "evidence.json")
        and not {"vae_encoder", "golden"}
        & set(path.parts) - ({"vae_encoder"} if needs_encoder else set())
    )
    assert facts.app_bytes == carried
    assert f"edgegen run {built.path}" in facts.next_steps[0]
    advised = "not with the kit" if needs_encoder else "targets/coreml/kit/README.md"
    assert advised in facts.next_steps[-1]
    manifest = load_manifest(built.path)
    inpaint = replace(manifest, facts=facts_of("stable-diffusion-inpaint", manifest.generation))
    assert app_facts(planned, inpaint, built.path).left_out == ()


@pytest.mark.parametrize(
    ("cached", "step"), [(False, "targets/tflite/kit/README.md"), (True, "--cache-interval")]
)
def test_a_kit_is_advised_for_a_denoiser_of_one_graph(
    cached: bool, step: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    source = tiny_pipeline("sd15")
    planned = plan(resolve(str(source)), target="tflite", destination=tmp_path / "planned")
    package = torch_package("sd15", source, tmp_path / "package", cached=cached)
    manifest = replace(load_manifest(package), target="tflite")
    assert step in app_facts(planned, manifest, package).next_steps[-1]


def test_a_profile_tells_the_oldest_system_and_the_attention(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["profiles", "iphone-15-pro"]) == 0
    page = capsys.readouterr().out
    assert "iOS 17" in page
    assert "split-einsum" in page
