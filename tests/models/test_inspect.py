"""`edgegen inspect`, as it is typed."""

from __future__ import annotations

import json
import shutil

import pytest

from edgegen.cli.main import run


def test_inspect_shows_components_sizes_licence_and_targets(capsys):
    assert run(["inspect", "builtin:emoji"]) == 0

    out = capsys.readouterr().out
    for words in ("text_encoder", "UNet2DConditionModel", "13.8 M", "float16", "27.7 MB"):
        assert words in out
    assert "Family: stable-diffusion (StableDiffusionPipeline)." in out
    assert "Licence: apache-2.0." in out
    assert "DDIMScheduler; 25 steps, guidance 3." in out
    assert "Targets: coreml, onnx, openvino, tflite." in out
    assert "encoder_hidden_states" not in out


def test_inspect_shows_inputs_and_outputs_when_asked_to(capsys):
    assert run(["inspect", "builtin:emoji", "--verbose"]) == 0

    out = capsys.readouterr().out
    assert "encoder_hidden_states" in out
    assert "(batch, 8, height / 8, width / 8)" in out


def test_inspect_writes_everything_as_json(capsys, tiny_pipeline):
    folder = tiny_pipeline("sdxl", dtype="float16")

    assert run(["inspect", str(folder), "--json"]) == 0

    answer = json.loads(capsys.readouterr().out)
    assert answer["pipeline"]["family"] == "stable-diffusion-xl"
    assert answer["scheduler"] == "EulerDiscreteScheduler"
    assert "onnx" in answer["targets"]
    unet = answer["components"][2]
    assert unet["storage_types"] == ["float16"]
    assert unet["storage_bytes"] == 2 * unet["spec"]["parameters"]


def test_inspect_shows_a_pipeline_without_prompts_as_such(capsys, tiny_pipeline):
    assert run(["inspect", str(tiny_pipeline("ddpm"))]) == 0

    out = capsys.readouterr().out
    assert "Prompt: none." in out
    assert "16×16, without latents." in out
    assert "1000 steps." in out


def test_inspect_names_what_a_package_leaves_out(capsys, tiny_pipeline, tmp_path):
    folder = shutil.copytree(tiny_pipeline("sd15"), tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    (folder / "model_index.json").write_text(json.dumps(index))

    assert run(["inspect", str(folder)]) == 0

    assert "Left out of packages: safety_checker." in capsys.readouterr().out


def test_inspect_shows_the_commit_of_a_model_of_the_hub(capsys, tiny_pipeline, monkeypatch):
    from contextlib import contextmanager

    from edgegen.models import source

    @contextmanager
    def fetched(model, **options):
        yield source.ModelFolder(
            path=tiny_pipeline("ddpm"), source=model, revision="0123456789abcdef" + 24 * "0"
        )

    monkeypatch.setattr(source, "resolve_headers", fetched)

    assert run(["inspect", "studio/tiny"]) == 0
    assert "studio/tiny (0123456789ab)" in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [False, True])
def test_inspect_of_nothing_exits_with_9_and_a_hint(as_json, capsys, tmp_path):
    arguments = ["inspect", str(tmp_path / "gone"), *(["--json"] if as_json else [])]

    assert run(arguments) == 9

    captured = capsys.readouterr()
    assert "gone" in captured.err
    assert "hint:" in captured.err
    if as_json:
        assert json.loads(captured.out)["error"]["exit_code"] == 9
