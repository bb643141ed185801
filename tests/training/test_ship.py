"""Trained models, put where they ship from."""

from __future__ import annotations

from pathlib import Path

import pytest

import training.ship
from edgegen.builtin.models import BuiltinModel
from edgegen.core.errors import ConfigError
from edgegen.core.files import sha256_of
from training.ship import ship

MODELS = ("scenes", "scenes-4step", "scenes-4step-tiny")


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three models, of which each shares with the one before."""
    models = {
        f"builtin:{name}": BuiltinModel(
            steps=4,
            guidance=1.0,
            prompt="",
            calibration_prompts=(),
            shares=None if before is None else f"builtin:{before}",
        )
        for name, before in zip(MODELS, (None, *MODELS[:-1]), strict=True)
    }
    monkeypatch.setattr(training.ship, "BUILTIN_MODELS", models)


def test_what_a_model_shares_ships_once_and_cards_stay(tmp_path: Path) -> None:
    trained, shipped = tmp_path / "trained", tmp_path / "shipped"
    for index, model in enumerate(MODELS):
        for name, text in {"unet/w": f"{min(index, 1)}", "vae/w": f"{index}", "index": "i"}.items():
            path = trained / model / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for model in MODELS:
        (shipped / model / "unet").mkdir(parents=True)
        (shipped / model / "README.md").write_text("card")
        (shipped / model / "LICENSE").symlink_to("../LICENSE")
        (shipped / model / "unet" / "old").write_text("")

    (shipped / "LICENSE").write_text("terms")

    for _ in range(2):
        ship(trained, shipped)

    assert all((shipped / model / "LICENSE").is_symlink() for model in MODELS)
    found = {str(path.relative_to(shipped)) for path in shipped.rglob("*") if path.is_file()}
    assert found == {
        "LICENSE",
        *(f"{model}/{name}" for model in MODELS for name in ("README.md", "LICENSE")),
        *("scenes/index", "scenes/unet/w", "scenes/vae/w"),
        *("scenes-4step/unet/w", "scenes-4step/vae/w"),
        "scenes-4step-tiny/vae/w",
    }
    for path in (path for path in shipped.rglob("?") if path.is_file()):
        assert path.read_text() == (trained / path.relative_to(shipped)).read_text()


def test_a_component_with_another_file_is_no_shared_one(tmp_path: Path) -> None:
    trained, shipped = tmp_path / "trained", tmp_path / "shipped"
    for model in ("scenes", "scenes-4step"):
        (trained / model / "vae").mkdir(parents=True)
        (trained / model / "vae" / "w").write_text("same")
    (trained / "scenes-4step" / "vae" / "more").write_text("")

    ship(trained, shipped)

    assert {path.name for path in (shipped / "scenes-4step" / "vae").iterdir()} == {"w", "more"}


def write_models(folder: Path, models: tuple[str, ...], text: str) -> None:
    for model in models:
        (folder / model / "vae").mkdir(parents=True)
        (folder / model / "vae" / "w").write_text(f"{text} {model}")
        (folder / model / "README.md").write_text(f"{text} {model}")


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256_of(path)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("models", [MODELS[:1], MODELS[:2], MODELS[1:2], MODELS[::2]])
def test_a_part_of_the_models_that_share_is_refused(
    tmp_path: Path, models: tuple[str, ...]
) -> None:
    trained, shipped = tmp_path / "trained", tmp_path / "shipped"
    write_models(trained, models, "new")
    write_models(shipped, MODELS, "old")
    before = contents(shipped)
    with pytest.raises(ConfigError, match="which ships without what they share"):
        ship(trained, shipped)
    assert contents(shipped) == before


def test_a_model_that_no_other_one_shares_with_ships_alone(tmp_path: Path) -> None:
    trained, shipped = tmp_path / "trained", tmp_path / "shipped"
    write_models(trained, MODELS[2:], "new")
    write_models(shipped, MODELS, "old")
    ship(trained, shipped)
    texts = [(shipped / model / "vae" / "w").read_text() for model in MODELS]
    assert texts == ["old scenes", "old scenes-4step", "new scenes-4step-tiny"]


def test_an_interruption_leaves_every_model_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, shipped = tmp_path / "trained", tmp_path / "shipped"
    write_models(trained, MODELS, "new")
    write_models(shipped, MODELS, "old")
    before = contents(shipped)
    copytree = training.ship.shutil.copytree

    def interrupted(source: Path, target: Path) -> None:
        if "tiny" in str(source):
            raise KeyboardInterrupt
        copytree(source, target)

    monkeypatch.setattr(training.ship.shutil, "copytree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ship(trained, shipped)
    assert contents(shipped) == before
    assert sorted(path.name for path in shipped.iterdir()) == sorted(MODELS)


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_without_models_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    exists: bool,
) -> None:
    trained, shipped = tmp_path / "trained", tmp_path / "shipped"
    if exists:
        trained.mkdir()
    write_models(shipped, MODELS, "old")
    before = contents(shipped)
    monkeypatch.setattr(training.ship, "SHIPPED", shipped)
    monkeypatch.setattr("sys.argv", ["training.ship", str(trained)])
    assert training.ship.main() == 2
    assert f"{trained} has none of the models scenes, " in capsys.readouterr().err
    assert contents(shipped) == before


def test_the_command_ships_the_models_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, shipped = tmp_path / "trained", tmp_path / "shipped"
    write_models(trained, MODELS, "new")
    monkeypatch.setattr(training.ship, "SHIPPED", shipped)
    monkeypatch.setattr("sys.argv", ["training.ship", str(trained)])
    assert training.ship.main() == 0
    assert contents(shipped) == contents(trained)
