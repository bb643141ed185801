"""Trained models, put where they ship from."""

from __future__ import annotations

from pathlib import Path

from training.ship import MODELS, ship


def test_files_that_an_earlier_model_has_become_links_and_cards_stay(tmp_path: Path) -> None:
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

    links = [path for path in shipped.rglob("*") if path.is_symlink()]
    assert sorted(str(path.relative_to(shipped)) for path in links) == [
        "scenes-4step-tiny/index",
        "scenes-4step-tiny/unet/w",
        "scenes-4step/index",
    ]
    assert not any(path.readlink().is_absolute() for path in links)
    for model in MODELS:
        names = {str(path.relative_to(shipped / model)) for path in (shipped / model).rglob("*.*")}
        assert names == {"README.md"}
        for name in ("unet/w", "vae/w", "index"):
            assert (shipped / model / name).read_text() == (trained / model / name).read_text()
