"""What the user may type for MODEL, and what is said where it is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.builtin.folder import SHIPPED
from edgegen.core.errors import SourceError
from edgegen.models.source import builtin_models, resolve, resolve_headers


def refused(model: str, **options: str) -> SourceError:
    with pytest.raises(SourceError) as caught:
        resolve(model, **options)  # type: ignore[arg-type]  # revision alone
    assert caught.value.hint
    return caught.value


def test_a_folder_is_itself(tmp_path):
    folder = resolve(str(tmp_path))

    assert (folder.path, folder.source, folder.revision) == (tmp_path, str(tmp_path), None)


def test_a_folder_wins_over_a_model_of_the_hub(tmp_path, monkeypatch):
    (tmp_path / "studio" / "tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    assert resolve("studio/tiny").path == Path("studio/tiny")


def test_the_home_folder_may_be_written_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    assert resolve("~").path == tmp_path


def test_headers_of_a_folder_are_read_where_they_are(tmp_path):
    with resolve_headers(str(tmp_path)) as folder:
        assert folder.path == tmp_path


def test_an_unknown_builtin_model_is_answered_with_the_nearest():
    error = refused("builtin:emojis")

    assert "'emojis'" in error.message
    assert "Did you mean 'emoji'?" in error.hint


@pytest.mark.parametrize("model", ["no/such/folder", "/no/such/folder", "nosuchfolder", "", "a b"])
def test_what_is_neither_a_folder_nor_an_id_says_what_may_be_given(model):
    error = refused(model)

    assert model in error.message
    assert "builtin:emoji" in error.hint
    assert "ORG/NAME" in error.hint


@pytest.mark.parametrize("model", ["builtin:emoji", "."])
def test_only_models_of_the_hub_have_revisions(model):
    assert "--revision" in refused(model, revision="main").hint


def test_two_different_revisions_are_refused():
    assert "different revisions" in refused("studio/tiny@fp16", revision="main").message


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.safetensors", "cut off or changed"),
        ("model.ckpt", "never opens"),
        ("model.txt", "model_index.json"),
    ],
)
def test_a_file_that_is_no_model_says_what_to_give(name, words, tmp_path):
    (tmp_path / name).touch()

    error = refused(str(tmp_path / name))

    assert str(tmp_path / name) in error.message
    assert words in error.hint


def test_resolving_what_is_here_does_not_import_the_hub(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from edgegen.models.source import resolve\n"
        "resolve('builtin:emoji')\n"
        "assert 'huggingface_hub' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_builtin_model_has_a_folder():
    assert {path.name for path in SHIPPED.iterdir()} == set(builtin_models())
