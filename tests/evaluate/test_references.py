"""The reference's pictures are kept by all that they depend on, and drawn once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.core.package import GoldenCase
from edgegen.evaluate import references
from edgegen.evaluate.references import Picture, References, Wanted
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.reference import golden
from edgegen.reference.pictures_child import PictureJob
from tests.conftest import TinyPipeline

CASE = GoldenCase(
    folder="",
    prompt="a cat",
    negative_prompt=None,
    width=32,
    height=32,
    steps=2,
    guidance=3.0,
    seed=0,
    scheduler="DDIMScheduler",
)
WANTED = Wanted(case=CASE, with_steps=True)


class Torch:
    """Stands in for torch: writes pictures whose values are the seed, and counts."""

    def __init__(self) -> None:
        self.drawn: list[PictureJob] = []
        self.value = 0.5

    def draw(self, spec: Any, model: Path, pictures: Sequence[PictureJob], **options: Any) -> None:
        for picture in pictures:
            path = Path(picture.image)
            golden.write_array(path.parent, path.name, np.full((8, 8, 3), self.value, np.float32))
            if picture.trajectory is not None:
                steps = np.zeros((2, 4, 4, 4), np.float32)
                golden.write_array(path.parent, Path(picture.trajectory).name, steps)
            self.drawn.append(picture)
            options["on_picture"](picture)


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Torch:
    stand_in = Torch()
    monkeypatch.setattr(references, "draw_pictures", stand_in.draw)
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    return stand_in


@pytest.fixture
def made(tiny_pipeline: TinyPipeline, tmp_path: Path) -> Any:
    model = tiny_pipeline("sd15")
    spec = read_pipeline(resolve(str(model)))

    def make(weights: str = "a" * 64, **changes: Any) -> References:
        changed = replace(spec, **changes)
        return References(changed, model, weights, starts=tmp_path)

    return make


def ask(of: References, *wanted: Wanted) -> list[Picture]:
    return of.of(wanted, on_picture=lambda is_kept: None)


def test_a_picture_is_drawn_once_and_then_kept(torch: Torch, made: Any) -> None:
    first, again = ask(made(), WANTED), ask(made(), WANTED)
    assert len(torch.drawn) == 1
    assert np.array_equal(first[0].pixels, again[0].pixels)
    assert again[0].steps is not None
    assert again[0].steps.shape == (2, 4, 4, 4)
    assert first[0].pixels[0, 0, 0] == 128


def test_what_a_picture_depends_on_is_in_its_key(torch: Torch, made: Any) -> None:
    ask(made(), WANTED)
    for name, value in (("prompt", "a dog"), ("seed", 1), ("steps", 3), ("guidance", 2.0)):
        ask(made(), replace(WANTED, case=replace(CASE, **{name: value})))
    ask(made(weights="b" * 64), WANTED)
    scheduler = replace(made()._spec.scheduler, class_name="EulerDiscreteScheduler")
    ask(made(scheduler=scheduler), WANTED)
    assert len(torch.drawn) == 7


def test_the_packages_own_steps_are_not_part_of_it(torch: Torch, made: Any) -> None:
    ask(made(), WANTED)
    generation = replace(made()._spec.generation, steps=9, guidance=1.5)
    ask(made(generation=generation), WANTED)
    assert len(torch.drawn) == 1


def test_other_versions_of_torch_draw_again(
    torch: Torch, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(made(), WANTED)
    monkeypatch.setattr(references, "version", lambda name: "99")
    ask(made(), WANTED)
    assert len(torch.drawn) == 2


def test_latents_that_were_not_kept_are_drawn_when_they_are_wanted(torch: Torch, made: Any) -> None:
    ask(made(), replace(WANTED, with_steps=False))
    assert ask(made(), WANTED)[0].steps is not None
    assert len(torch.drawn) == 2


def test_a_file_that_is_cut_is_drawn_again(torch: Torch, made: Any, tmp_path: Path) -> None:
    ask(made(), WANTED)
    (kept,) = (tmp_path / "cache" / "references").rglob("*.png")
    kept.write_bytes(kept.read_bytes()[:30])
    ask(made(), WANTED)
    assert len(torch.drawn) == 2


def test_values_that_are_not_finite_are_a_fault_and_not_kept(torch: Torch, made: Any) -> None:
    torch.value = float("nan")
    (picture,) = ask(made(), WANTED)
    assert picture.fault == "not finite"
    assert picture.pixels.max() == 0
    ask(made(), WANTED)
    assert len(torch.drawn) == 2


def test_what_was_not_used_for_longest_goes_first(
    torch: Torch, made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(made(), WANTED)
    (old,) = (tmp_path / "cache" / "references").rglob("*.png")
    os.utime(old, (1, 1))
    monkeypatch.setattr(references, "MOST_BYTES", old.stat().st_size + 10)
    ask(made(), replace(WANTED, case=replace(CASE, seed=5), with_steps=False))
    left = list((tmp_path / "cache" / "references").rglob("*.*"))
    assert len(left) == 1
    assert old not in left


def test_what_was_left_of_a_kill_is_counted_and_removed(
    torch: Torch, made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache" / "references" / "ab"
    folder.mkdir(parents=True)
    for name in ("k1.npy", "k2-99.part"):
        (folder / name).write_bytes(b"x" * 5000)
        os.utime(folder / name, (1, 1))
    monkeypatch.setattr(references, "MOST_BYTES", 4000)
    ask(made(), WANTED)
    assert list(folder.iterdir()) == []
    assert len(list(folder.parent.rglob("*.png"))) == 1


def test_a_cache_that_cannot_be_written_still_answers(
    torch: Torch, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(made(), WANTED)

    def refuse(path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(os, "utime", refuse)
    ask(made(), WANTED)
    assert len(torch.drawn) == 1


def test_without_a_cache_pictures_are_drawn_each_time(
    torch: Torch, made: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "file"))
    assert len(ask(made(), WANTED)) == len(ask(made(), WANTED)) == 1
    assert len(torch.drawn) == 2
