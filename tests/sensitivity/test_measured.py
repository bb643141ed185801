"""Tables of whole models: every family, every layer, and the cache."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from edgegen.cli.main import run as run_command
from edgegen.compress.codecs import CODECS
from edgegen.core.codec import load_json
from edgegen.core.errors import ResourceError
from edgegen.core.model import PipelineSpec
from edgegen.core.package import StageCost
from edgegen.core.progress import SilentProgress
from edgegen.core.sensitivity import LayerSensitivity, Sensitivity, worst_first
from edgegen.core.worker import Finished
from edgegen.models.pipeline_source import FolderSource, folder_source
from edgegen.models.read import component_keys, read_pipeline
from edgegen.models.source import resolve
from edgegen.reference import streaming
from edgegen.sensitivity import losses, run
from edgegen.sensitivity.child import Job, Measured, _run
from edgegen.sensitivity.gradients import DifferentiableWeights
from edgegen.sensitivity.run import gradient_bytes, measure_sensitivity, plan_cases
from tests.conftest import TinyPipeline

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FAMILIES = (
    "ddpm",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("sd15", "pixart", "sd-inpaint", "lcm", "sdxl", "sdxl-inpaint", "sdxl-refiner")
    ),
)
COST = StageCost(stage="sensitivity", wall_s=2.0, cpu_s=3.0, peak_memory_bytes=10**9)


def in_this_process(_module: str, job: Job, **_rest: object) -> Finished:
    """Do what the measuring process does, here, where torch is imported already."""
    return Finished(done=_run(job, lambda _event, **_fields: None), cost=COST)


def spec_of(folder: Path) -> PipelineSpec:
    return read_pipeline(resolve(str(folder)))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_of_a_family_has_a_loss_in_every_storage(
    family: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline(family)
    spec = spec_of(folder)
    destination = tmp_path / "measured.json"
    cases = plan_cases(spec, folder)[:1]
    job = Job(spec=spec, source=folder_source(folder), destination=str(destination), cases=cases)
    _run(job, lambda _event, **_fields: None)
    table = load_json(Measured, destination)
    for component in spec.components:
        weights = FolderSource(folder).weights(component.folder, component.variant)
        matrices = [
            key for key in component_keys(component, weights) if len(weights.entries[key].shape) > 1
        ]
        layers = table.components[component.name]
        assert sum(len(layer.shapes) for layer in layers.values()) == len(matrices)
        for layer in layers.values():
            assert set(layer.losses) == set(CODECS)
            assert all(math.isfinite(loss) and loss >= 0 for loss in layer.losses.values())
        moving = [layer for layer in layers.values() if layer.losses["int8"] > 0]
        assert len(moving) > len(layers) / 2


@pytest.mark.slow
@pytest.mark.parametrize("family", ["ddpm", "sd15"])
def test_a_model_too_large_to_keep_runs_block_by_block_and_finds_the_same(
    family: str, tiny_pipeline: TinyPipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tiny_pipeline(family)
    spec = spec_of(folder)
    cases = tuple(replace(it, steps=2) for it in plan_cases(spec, folder)[:1])
    checkpointed: list[str] = []
    plain = DifferentiableWeights.checkpointed

    def watched(weights: DifferentiableWeights, module: torch.nn.Module) -> None:
        checkpointed.append(type(module).__name__)
        plain(weights, module)

    monkeypatch.setattr(DifferentiableWeights, "checkpointed", watched)
    few = {"int4": CODECS["int4"]}
    monkeypatch.setattr(losses, "losses_of", partial(losses.losses_of, codecs=few))

    def measured(name: str) -> tuple[Measured, list[str]]:
        checkpointed.clear()
        destination = tmp_path / name
        job = Job(
            spec=spec, source=folder_source(folder), destination=str(destination), cases=cases
        )
        _run(job, lambda _event, **_fields: None)
        return load_json(Measured, destination), [*checkpointed]

    whole, once = measured("whole.json")
    monkeypatch.setattr(streaming, "KEPT_BYTES", 0)
    in_blocks, each = measured("in-blocks.json")
    assert len(once) == 1
    assert len(each) > 3
    assert {name: {*layers} for name, layers in whole.components.items()} == {
        name: {*layers} for name, layers in in_blocks.components.items()
    }
    for name, layers in whole.components.items():
        for layer, expected in layers.items():
            found = in_blocks.components[name][layer]
            assert found.losses == pytest.approx(expected.losses, rel=1e-3, abs=1e-20), layer


@pytest.fixture
def table() -> Sensitivity:
    losses = {"float16": 0.0, "int8": 1e-6, "palette2": 1e-3}
    low = {"float16": 0.0, "int8": 1e-8, "palette2": 1e-5}
    return Sensitivity(
        model="tiny",
        weights_sha256="0" * 64,
        cases=(),
        bits={"float16": 16, "int8": 8, "palette2": 2},
        components={
            "unet": {
                "conv_in": LayerSensitivity(shapes=((8, 4, 3, 3),), losses=low),
                "conv_out": LayerSensitivity(shapes=((4, 8, 3, 3),), losses=losses),
            }
        },
        cost=COST,
    )


def test_the_worst_layer_is_first(table: Sensitivity) -> None:
    assert [name for _, name, _ in worst_first(table, ("int8", "palette2"))] == [
        "conv_out",
        "conv_in",
    ]


def test_a_table_is_remembered_by_its_content(
    table: Sensitivity,
    tiny_pipeline: TinyPipeline,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path))
    folder = tiny_pipeline("sd15")
    spec, asked = spec_of(folder), []

    def call(_module: str, job: Job, **_rest: object) -> Finished:
        from edgegen.core.codec import dump_json

        asked.append(job)
        Path(job.destination).write_text(dump_json(Measured(components=table.components)))
        return Finished(done={"event": "done"}, cost=COST)

    monkeypatch.setattr(run, "call", call)

    def measured(sha256: str, *, fresh: bool = False) -> Sensitivity:
        return measure_sensitivity(
            spec,
            folder_source(folder),
            weights_sha256=sha256,
            progress=SilentProgress(),
            fresh=fresh,
        )

    first = measured("a")
    assert measured("a") == first
    assert len(asked) == 1
    measured("b")
    measured("a", fresh=True)
    assert len(asked) == 3


def test_without_room_for_the_gradients_nothing_is_measured(
    tiny_pipeline: TinyPipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none" / "yet"))
    folder = tiny_pipeline("sd15")
    spec, source = spec_of(folder), folder_source(folder)
    needed = gradient_bytes(spec, source)
    written = sum(
        4 * math.prod(entry.shape)
        for name in ("text_encoder", "unet", "vae")
        for key, entry in FolderSource(folder).weights(name, None).entries.items()
        if len(entry.shape) > 1 and not key.endswith("position_ids")  # no parameter
    )
    assert needed == written
    asked: list[object] = []
    monkeypatch.setattr(run, "call", lambda *given, **_rest: asked.append(given))
    disk = shutil.disk_usage(tmp_path)._replace(free=4 * needed - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: disk)
    with pytest.raises(ResourceError, match=rf"{tmp_path} has .* free") as caught:
        measure_sensitivity(spec, source, weights_sha256="a", progress=SilentProgress(), fresh=True)
    assert "TMPDIR" in caught.value.hint
    assert not asked


def test_the_command_writes_a_table_a_page_and_csv(
    tiny_pipeline: TinyPipeline,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "call", in_this_process)
    monkeypatch.setattr(run, "plan_cases", lambda *asked: plan_cases(*asked)[:1])
    page, csv = tmp_path / "page.html", tmp_path / "all.csv"
    model = str(tiny_pipeline("ddpm"))
    assert run_command(["sensitivity", model, "-o", str(page), "--csv", str(csv)]) == 0
    shown = capsys.readouterr().out
    assert "the worst first" in shown
    markup = page.read_text()
    assert "<svg" in markup
    assert "http" not in markup.replace("http://www.w3.org", "")
    lines = csv.read_text().splitlines()
    assert lines[0] == "component,layer,weights,storage,bits,loss,psnr_db"
    layers = {tuple(line.split(",")[:2]) for line in lines[1:]}
    assert len(lines) - 1 == len(layers) * len(CODECS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--storage", "palete4"], "palette4"),
        (["-o", "page.txt"], ".html"),
        (["--csv", "missing/all.csv"], "mkdir"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_measured(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["sensitivity", "builtin:scenes-4step-tiny", *arguments]) == 2
    assert said in capsys.readouterr().err
