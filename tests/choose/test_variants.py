"""`choose --prune`: pruned models are made once, and are candidates beside their original."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.choose.originals import originals_of
from edgegen.choose.space import Space
from edgegen.cli.main import run
from edgegen.core.errors import ConfigError
from edgegen.core.model import PipelineSpec
from edgegen.core.progress import SilentProgress
from edgegen.models.source import resolve
from edgegen.packaging.model_facts import read_facts
from edgegen.pruning import run as pruning
from edgegen.pruning.scores import Scores
from edgegen.pruning.variants import variants_of
from tests.choose.played import Played
from tests.exporters.harness import TinyPipeline
from tests.pruning.models import made_up_scores, structure_of


@pytest.fixture
def model(tiny_pipeline: TinyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a model of its own."""
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "state"))
    folder = Path(shutil.copytree(tiny_pipeline("sd15"), tmp_path / "whole"))
    scores = made_up_scores(structure_of(folder), block=0.05)

    def measured(spec: PipelineSpec, source: object, *, weights_sha256: str, **_: object) -> Scores:
        return replace(scores, model=spec.source, weights_sha256=weights_sha256)

    monkeypatch.setattr(pruning, "measure_scores", measured)
    return folder


def test_pruned_models_are_made_once_and_compete_with_their_original(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Played(tmp_path / "log").standing_in():
        words = ["choose", str(model), "-d", "local", "-t", "onnx:fp32", "--steps", "4"]
        limits = ["--prune", "0.8,0.6", "--min-psnr", "20", "-o", str(tmp_path / "out"), "--json"]
        assert run([*words, *limits]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    found = {row["way"]["model"]: row["standing"] for row in rows}
    shown = [f"{model} pruned to {share} %" for share in (80, 60)]
    assert found == {str(model): "not needed", shown[0]: "not needed", shown[1]: "winner"}

    _nothing_names_the_cache(tmp_path)
    with Played(tmp_path / "log").standing_in():
        assert run([*words, *limits[:-1]]) == 0
    said = capsys.readouterr()
    assert f"draw with it: edgegen run {tmp_path}/out/packages/" in said.out
    assert "--prompt" in said.out
    assert "0 conversions" in said.out, "the same command goes on where it was"
    assert str(tmp_path / "cache") not in said.out + said.err
    _nothing_names_the_cache(tmp_path)

    silent, whole = SilentProgress(), resolve(str(model))
    first = variants_of(whole, (0.8, 0.6), silent)
    times = [(it.path / "pruned.json").stat().st_mtime_ns for it in first]
    assert variants_of(whole, (0.8, 0.6), silent) == first
    assert [(it.path / "pruned.json").stat().st_mtime_ns for it in first] == times
    assert not variants_of(first[0], (0.5,), silent), "nothing is pruned twice"
    models = {it.source: it for it in (whole, *first)}
    space = Space(facts={name: read_facts(it) for name, it in models.items()})
    assert set(originals_of(space, models, silent).values()) == {str(model)}

    with pytest.raises(ConfigError, match=r"cannot be pruned to 0\.001: At least"):
        variants_of(whole, (0.001,), silent)
    index = model / "model_index.json"
    index.write_text(index.read_text() + "\n")
    (other,) = variants_of(whole, (0.8,), silent)
    assert other.path != first[0].path, "what is copied into it changed"


def _nothing_names_the_cache(folder: Path) -> None:
    """Look for the cache's path, and its folders, in all that a choice wrote for people."""
    written = [it for it in (folder / "out").rglob("*") if it.is_file()]
    assert {"choice.json", "report.html", "report.md", "report.csv"} <= {it.name for it in written}
    keys = [it.name for it in (folder / "cache" / "pruned").iterdir()]
    for path in written:
        place, content = str(path.relative_to(folder)), path.read_bytes()
        for word in (str(folder / "cache"), *keys):
            assert word not in place
            assert word.encode() not in content, place
