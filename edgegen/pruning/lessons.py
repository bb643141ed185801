"""What a pruned denoiser learns from: calls of the denoiser on the way to pictures.

The pictures are drawn by the original, and in turn by what the pruned one has become, whose errors
lead to places where the original never comes.

Imported in the recovering process only, and therefore imports torch at the top.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.families import family_of
from edgegen.reference import golden
from edgegen.reference.case import MOST_STEPS
from edgegen.reference.drawer import batch_arguments
from edgegen.reference.sde import seed_noise
from edgegen.reference.start_pictures import write_start_pictures

STEPS = (4, 12)
"""The least and the most steps of pictures of a model that takes many."""
_NEGATIVE = ("", "", "blurry, low quality")


@dataclass(frozen=True, slots=True)
class Lesson:
    """A call of the denoiser, with all its inputs."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def ask(self, network: Any) -> torch.Tensor:
        """Return what a denoiser predicts: (batch, channels, height, width)."""
        output = network(*self.args, **self.kwargs)
        predicted: torch.Tensor = output[0] if isinstance(output, tuple) else output.sample
        return predicted


class Lessons:
    """Draws pictures with a pipeline, and keeps the calls of its denoiser.

    `slot` is what the pipeline calls its denoiser; `case` says what all pictures have in common.
    """

    def __init__(
        self, spec: PipelineSpec, pipeline: Any, slot: str, case: GoldenCase, folder: Path
    ) -> None:
        self._spec = spec
        self._pipeline = pipeline
        self._slot = slot
        self._case = case
        self._folder = folder
        write_start_pictures(spec, folder, width=case.width, height=case.height)

    def drawn_by(self, network: Any, prompts: Sequence[str], seed: int) -> list[Lesson]:
        """Return the calls of `network` on the way to a picture for each prompt."""
        chance = random.Random(seed)  # noqa: S311 - the same lessons each time
        few = self._case.steps
        is_few = self._spec.generation.steps <= MOST_STEPS
        case = replace(
            self._case,
            steps=few if is_few else chance.randint(*STEPS),
            negative_prompt=None
            if self._case.negative_prompt is None
            else chance.choice(_NEGATIVE),
        )
        one = golden.draw_request(case, self._folder)
        alike = [replace(one, prompt=prompt, seed=chance.getrandbits(31)) for prompt in prompts]
        family = family_of(self._spec.family)
        arguments = batch_arguments(family, one, alike)
        if any(it.role == "decoder" for it in self._spec.components):
            arguments["output_type"] = "latent"
        lessons: list[Lesson] = []
        seed_noise(self._pipeline.scheduler, [it.seed for it in alike])
        with _listening(network, lessons), torch.no_grad(), self._drawing_with(network):
            self._pipeline(**arguments)
        return lessons

    @contextmanager
    def _drawing_with(self, network: Any) -> Iterator[None]:
        own = getattr(self._pipeline, self._slot)
        setattr(self._pipeline, self._slot, network)
        try:
            yield
        finally:
            setattr(self._pipeline, self._slot, own)


class Features:
    """What the blocks of a denoiser compute, while a call is made: by the block's path."""

    def __init__(self, network: Any) -> None:
        self.found: dict[str, torch.Tensor] = {}
        for path in blocks_of_features(network):
            network.get_submodule(path).register_forward_hook(self._keeping(path))

    def _keeping(self, path: str) -> Callable[..., None]:
        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            self.found[path] = output[0] if isinstance(output, tuple) else output

        return keep


def blocks_of_features(network: Any) -> list[str]:
    """Return the blocks whose states have to be alike: levels of a UNet, all of a transformer."""
    found = [
        name
        for name, _ in network.named_modules()
        if name == "mid_block"
        or name.rpartition(".")[0] in ("down_blocks", "up_blocks", "transformer_blocks")
    ]
    return [name for name in found if network.get_submodule(name) is not None]


@contextmanager
def _listening(network: Any, lessons: list[Lesson]) -> Iterator[None]:
    def keep(_module: Any, args: Any, kwargs: Any) -> None:
        copied = pytree.tree_map(_copied, (args, dict(kwargs)))
        lessons.append(Lesson(*copied))

    handle = network.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _copied(leaf: Any) -> Any:
    return leaf.detach().clone() if isinstance(leaf, torch.Tensor) else leaf
