"""The scenes that are trained on, as a stage draws them: by kind, by scene, then by caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTokenizer

from edgegen.scenes.catalogue import COUNTS, scenes
from edgegen.scenes.combinations import Split
from edgegen.scenes.objects import objects
from edgegen.scenes.render import SHEET, render
from edgegen.scenes.scene import (
    BIG_PX,
    COLOURS,
    NORMAL_CORNER_PX,
    NORMAL_PX,
    SMALL_PX,
    WHITE,
    Kind,
    Placement,
    Scene,
)
from training.basis import basis_of
from training.settings import CAPTION_TOKENS, MIX

_CENTER = ((NORMAL_CORNER_PX, NORMAL_CORNER_PX),)
_ALL = ((0, 0),)


class TrainingScenes:
    """Every scene of the training split."""

    def __init__(self) -> None:
        self.scenes: Sequence[Scene] = list(scenes(Split.TRAINED))
        groups: dict[tuple[Kind, bool], list[int]] = {key: [] for key in MIX}
        for index, scene in enumerate(self.scenes):
            groups[scene.kind, scene.background != WHITE].append(index)
        self._groups = [torch.tensor(groups[key]) for key in MIX]
        self._shares = torch.tensor(list(MIX.values()))

    @cached_property
    def basis(self) -> str:
        """What `basis_of` says of the pictures, and of how often each is drawn."""
        drawn = [
            (
                str(scene.kind),
                scene.background,
                *((it.thing, it.x, it.y, it.size) for it in scene.placements),
            )
            for scene in self.scenes
        ]
        return basis_of(drawn, SHEET.read_bytes(), COLOURS, MIX)

    def draw(self, number: int, generator: torch.Generator) -> Tensor:
        """Return the indices of so many scenes, (number,), each kind with its share."""
        kinds = torch.multinomial(self._shares, number, replacement=True, generator=generator)
        picks = torch.rand(number, generator=generator)
        return torch.stack(
            [
                self._groups[kind][int(pick * len(self._groups[kind]))]
                for kind, pick in zip(kinds.tolist(), picks.tolist(), strict=True)
            ]
        )

    def collages(self, number: int, generator: torch.Generator) -> Tensor:
        """Return pictures with much to see, (number, 3, 64, 64), in −1…1.

        Half show four things, which no caption could name; a quarter one, as singles do, and a
        quarter one that fills the picture. An autoencoder learns from them in fewer steps than from
        scenes, which are mostly background.
        """
        _, corners_of_four = COUNTS[4]
        four, one = (SMALL_PX, corners_of_four), (NORMAL_PX, _CENTER)
        layouts = (four, four, one, (BIG_PX, _ALL))
        drawn = []
        for _ in range(number):
            numbers = torch.randint(1 << 30, (6,), generator=generator).tolist()
            size, corners = layouts[numbers[0] % len(layouts)]
            drawn.append(
                render(
                    Scene(
                        kind=Kind.SINGLE,
                        background=tuple(COLOURS)[numbers[1] % len(COLOURS)],
                        placements=tuple(
                            Placement(thing % len(objects()), x, y, size)
                            for thing, (x, y) in zip(numbers[2:], corners, strict=False)
                        ),
                        captions=(),
                    )
                )
            )
        return _as_tensor(drawn)

    def pictures(self, indices: Sequence[int]) -> Tensor:
        """Return the pictures of scenes, (scenes, 3, 64, 64), in −1…1."""
        return _as_tensor([render(self.scenes[index]) for index in indices])


def _as_tensor(drawn: Sequence[NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).float() / 127.5 - 1


@dataclass(frozen=True, slots=True)
class Captions:
    """The token ids of every caption, (captions, tokens), and where each scene's begin."""

    ids: NDArray[np.int16]
    starts: NDArray[np.int64]
    empty: NDArray[np.int16]

    @property
    def basis(self) -> str:
        """What `basis_of` says of them."""
        return basis_of(self.ids, self.starts, self.empty)

    def draw(self, scene_indices: Tensor, empty_share: float, generator: torch.Generator) -> Tensor:
        """Return a caption of each scene, (scenes, tokens), emptied by chance."""
        picks = torch.rand(len(scene_indices), generator=generator).numpy()
        emptied = torch.rand(len(scene_indices), generator=generator).numpy() < empty_share
        starts, ends = self.starts[scene_indices], self.starts[scene_indices + 1]
        ids = self.ids[starts + (picks * (ends - starts)).astype(np.int64)]
        ids = np.where(emptied[:, None], self.empty, ids)
        return torch.from_numpy(ids.astype(np.int64))


def tokenize(all_scenes: Sequence[Scene], tokenizer: CLIPTokenizer) -> Captions:
    """Tokenize every caption. Raises ValueError where one is longer than the model reads."""
    counts = [len(scene.captions) for scene in all_scenes]
    texts = [caption for scene in all_scenes for caption in scene.captions]
    rows = tokenizer(texts, padding="max_length", max_length=CAPTION_TOKENS).input_ids
    longest = max(map(len, rows))
    if longest > CAPTION_TOKENS:
        raise ValueError(f"A caption has {longest} tokens; the model reads {CAPTION_TOKENS}.")
    empty = tokenizer("", padding="max_length", max_length=CAPTION_TOKENS).input_ids
    return Captions(np.array(rows, np.int16), np.cumsum([0, *counts]), np.array(empty, np.int16))
