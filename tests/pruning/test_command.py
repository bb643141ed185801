"""`edgegen slim`: measured on a tiny pipeline, written whole, and read as any model is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgegen.cli.main import run
from edgegen.core.errors import SourceError
from edgegen.core.progress import SilentProgress
from edgegen.core.reading import Reading
from edgegen.models.origin import ORIGIN_NAME, read_origin
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.models.weights import Weights
from edgegen.pruning.run import plan_pruning
from tests.checkpoints.original import write_original
from tests.conftest import TinyPipeline


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.slow
def test_a_model_is_pruned_to_a_share_and_says_what_it_was(
    tiny_pipeline: TinyPipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, output = tiny_pipeline("sd15"), tmp_path / "small"
    code = run(["slim", str(model), "--to", "0.6", "-o", str(output), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert code == 0
    old, new = (Weights.open(folder / "unet") for folder in (model, output))
    share = count(new) / count(old)
    assert 0.55 < share <= 0.6
    assert told["origin"]["kept_numbers"] == count(new)
    origin = read_origin(output)
    assert origin is not None
    assert (origin.model, origin.numbers) == (str(model), count(old))
    own, spec = read_pipeline(resolve(str(model))), read_pipeline(resolve(str(output)))
    assert spec.original == str(model)
    assert spec.generation.steps == own.generation.steps
    denoiser = next(it for it in spec.components if it.role == "denoiser")
    assert denoiser.parameters == count(new)

    assert run(["slim", str(model), "--to", "0.5", "-o", str(output)]) == 2
    assert "--force" in capsys.readouterr().err
    assert run(["slim", str(model), "--to", "0.5", "-o", str(output), "--force"]) == 0
    assert count(Weights.open(output / "unet")) / count(old) <= 0.5
    assert run(["slim", str(output), "--to", "0.5", "-o", str(tmp_path / "twice")]) == 9
    assert "pruned already" in capsys.readouterr().err
    assert not (tmp_path / "twice").exists()


def test_what_is_no_pruned_model_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    wanted = ["slim", "builtin:emoji", "--to", "0.5", "-o", str(tmp_path / "mine"), "--force"]
    assert run(wanted) == 2
    assert "something else" in capsys.readouterr().err
    assert (tmp_path / "mine/letter.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("words", "says"),
    [(["--to", "1.5"], "--to"), (["--to", "0.5", "--what", "head"], "Did you mean 'heads'")],
)
def test_wrong_wishes_are_refused_at_once(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["slim", "builtin:emoji", *words, "-o", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["{", '{"schema_version": 2}', '{"schema_version": 1, "steps": 4}']
)
def test_an_origin_that_cannot_be_read_is_an_error_that_names_the_file(
    text: str, tmp_path: Path
) -> None:
    (tmp_path / ORIGIN_NAME).write_text(text)
    with pytest.raises(SourceError, match=ORIGIN_NAME):
        read_origin(tmp_path)


def count(weights: Weights) -> int:
    return sum(entry.elements for entry in weights.entries.values())


def test_a_model_in_one_file_is_refused_before_anything_is_measured(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    file = write_original(folder, "1", tmp_path / "model.safetensors")
    found = resolve(str(file), reading=Reading(config=str(folder)))
    with pytest.raises(SourceError, match="a single file") as refused:
        plan_pruning(found, 0.5, progress=SilentProgress())
    assert "from_single_file(FILE).save_pretrained(FOLDER)" in refused.value.hint
