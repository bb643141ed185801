"""Trained models, put where they ship from."""

from __future__ import annotations

from pathlib import Path

import pytest

import training.ship
from edgegen.pipelines.builtin_models import BuiltinModel
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
        (shipped / model / "unet" / "old").write_text("")

    for _ in range(2):
        ship(trained, shipped)

    found = {str(path.relative_to(shipped)) for path in shipped.rglob("*") if path.is_file()}
    assert found == {
        *(f"{model}/README.md" for model in MODELS),
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
