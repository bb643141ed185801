"""Holds mixes against the uniform recipes of their size, in pictures.

    python benchmarks/mixed_recipes.py [--model NAME …] [--target NAME …] [--pictures 24] [--write]

For each recipe of a target that stores every layer alike in 8 bits or fewer, a mix is made of the
same predicted size. Both draw the suite `known` in torch, with the weights as the codecs restore
them, in the model's own steps; that is what a package computes, but for the runtime's arithmetic.
Printed are the mean PSNR and FLIP beside the model itself and, of scenes, the share that is right.
"""

from __future__ import annotations

import argparse
import inspect
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from benchmarks.machine import Machine, read_machine
from edgegen.compress.codecs import CODECS
from edgegen.core.codec import dump_json
from edgegen.core.evaluation import EQUAL_DB
from edgegen.core.progress import SilentProgress
from edgegen.core.recipe import Recipe
from edgegen.core.recipes import load_recipe
from edgegen.core.target import TargetSpec
from edgegen.core.targets import load_target
from edgegen.evaluate.metrics import METRICS
from edgegen.evaluate.suite import Question, load_suite, questions
from edgegen.models.pipeline_source import folder_source, open_source
from edgegen.models.source import resolve
from edgegen.packaging.candidate import make_candidate, predict
from edgegen.packaging.mixed import MixedSize, make_mixed, named_as, sensitivity_of
from edgegen.packaging.model_facts import ModelFacts, read_facts
from edgegen.reference.pipeline import load_reference
from edgegen.scenes.reading import read_picture
from edgegen.scenes.verdict import judge
from edgegen.sensitivity.gradients import DifferentiableWeights
from edgegen.sensitivity.losses import stored_error

RESULTS = Path(__file__).parent / "results"
MODELS = ("builtin:scenes-4step-tiny", "builtin:emoji")
MOST_BITS = 8
BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a recipe's weights draw; `right` is None where nobody can tell."""

    recipe: str
    predicted_bytes: int
    psnr_db: float
    flip: float
    right: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A uniform recipe, and the mix of its size."""

    model: str
    target: str
    uniform: Drawn
    mixed: Drawn
    bits: float
    gap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All pairs, how many pictures each drew, and the machine."""

    machine: Machine
    pictures: int
    pairs: tuple[Pair, ...]


class Studio:
    """Draws a model's questions, with the weights that a recipe leaves of it."""

    def __init__(self, model: str, most: int) -> None:
        self.facts: ModelFacts = read_facts(resolve(model, progress=SilentProgress()))
        self.questions = questions(load_suite("known", model), most)
        weights = DifferentiableWeights()
        source = open_source(folder_source(self.facts.folder))
        self._reference = load_reference(self.facts.spec, source, weights)
        self._weights: dict[tuple[str, str], torch.Tensor] = {}
        self._errors: dict[tuple[str, str, str], torch.Tensor] = {}
        for folder, module in self._reference.modules.items():
            for name, stub in list(module.named_parameters()):
                path, _, attribute = name.rpartition(".")
                whole = torch.from_numpy(weights.read(stub))
                self._weights[folder, name] = whole
                module.get_submodule(path)._parameters[attribute] = torch.nn.Parameter(
                    whole.clone(), requires_grad=False
                )
        self._plain = self._draw()

    def judged(self, recipe: Recipe, target: TargetSpec, predicted_bytes: int) -> Drawn:
        """Draw with a recipe's weights, and compare with the model."""
        self._store(recipe, target)
        pictures = self._draw()
        pairs = list(zip(self._plain, pictures, strict=True))
        found = {
            name: [METRICS[name].compute(*pair) for pair in pairs] for name in ("psnr", "flip")
        }
        return Drawn(
            recipe=recipe.name,
            predicted_bytes=predicted_bytes,
            psnr_db=float(np.mean([EQUAL_DB if it is None else it for it in found["psnr"]])),
            flip=float(np.mean([it for it in found["flip"] if it is not None])),
            right=_right(self.questions, pictures),
        )

    def _store(self, recipe: Recipe, target: TargetSpec) -> None:
        for component in self.facts.spec.components:
            types = recipe.of(component)
            module = self._reference.modules[component.folder]
            for name, parameter in module.named_parameters():
                whole = self._weights[component.folder, name]
                layer = name.rpartition(".")[0]
                is_ours = name.startswith(component.prefixes)
                if whole.ndim < 2 or whole.numel() <= target.sizes.small or not is_ours:
                    continue
                storage = types.storage_of(layer)
                key = (component.folder, name, storage)
                if key not in self._errors:
                    error = stored_error(whole.numpy(), CODECS[storage])
                    self._errors[key] = torch.from_numpy(error)
                parameter.data = whole + self._errors[key]

    def _draw(self) -> list[Any]:
        pipeline = self._reference.pipeline
        generation = self.facts.spec.generation
        drawn: list[Any] = []
        for start in range(0, len(self.questions), BATCH):
            asked = self.questions[start : start + BATCH]
            seeds = [torch.Generator().manual_seed(it.seed) for it in asked]
            with torch.inference_mode():
                images = inspect.unwrap(type(pipeline).__call__)(
                    pipeline,
                    prompt=[it.prompt for it in asked],
                    num_inference_steps=generation.steps,
                    guidance_scale=generation.guidance,
                    height=generation.height,
                    width=generation.width,
                    generator=seeds,
                    output_type="np",
                ).images
            drawn += list(np.rint(images * 255).astype(np.uint8))
        return drawn


def _right(asked: Sequence[Question], pictures: Sequence[Any]) -> float | None:
    verdicts = [
        judge(question.scene, read_picture(picture)).all_right
        for question, picture in zip(asked, pictures, strict=True)
        if question.scene is not None
    ]
    return sum(verdicts) / len(verdicts) if verdicts else None


def uniform_recipes(target: TargetSpec) -> list[Recipe]:
    """Return a target's recipes that store every layer alike, in few bits."""
    recipes = [load_recipe(name, target) for name in target.recipes]
    return [
        it
        for it in recipes
        if it.storages == {it.storage}
        and CODECS[it.storage].bits <= MOST_BITS
        and it.activations == "float"
        and it.palette_channels is None
    ]


def pairs_of(model: str, targets: Sequence[str], most: int) -> list[Pair]:
    """Return the pairs of a model, printing each."""
    studio = Studio(model, most)
    table = sensitivity_of(studio.facts, SilentProgress())
    studio.facts = facts = named_as(studio.facts, table)
    found: list[Pair] = []
    for name in targets:
        target = load_target(name)
        for recipe in uniform_recipes(target):
            size = predict(make_candidate(facts, target, recipe), facts).package_bytes
            asked = MixedSize(name=f"mixed-{size}", package_bytes=math.ceil(size * 1.01))
            mixed = make_mixed(facts, target, asked, table)
            bytes_ = predict(make_candidate(facts, target, mixed.recipe), facts).package_bytes
            pair = Pair(
                model=model,
                target=name,
                uniform=studio.judged(recipe, target, size),
                mixed=studio.judged(mixed.recipe, target, bytes_),
                bits=mixed.weights_bits,
                gap=mixed.gap,
            )
            found.append(pair)
            print(f"{model} {name}, {pair.bits:.2f} bits, gap {pair.gap:.1e}")
            for drawn in (pair.uniform, pair.mixed):
                right = "" if drawn.right is None else f", right {drawn.right:.2f}"
                print(
                    f"  {drawn.recipe:20} {drawn.predicted_bytes / 1e6:6.2f} MB "
                    f"PSNR {drawn.psnr_db:5.1f} dB, FLIP {drawn.flip:.4f}{right}",
                    flush=True,
                )
    return found


def main() -> int:
    """Print every pair."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", action="append", dest="models")
    parser.add_argument("--target", action="append", dest="targets")
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--write", action="store_true", help="keep it in results/")
    arguments = parser.parse_args()
    pairs: list[Pair] = []
    for model in arguments.models or MODELS:
        pairs += pairs_of(model, arguments.targets or ["coreml"], arguments.pictures)
    worse: Mapping[str, int] = {
        "PSNR": sum(it.mixed.psnr_db < it.uniform.psnr_db for it in pairs),
        "FLIP": sum(it.mixed.flip > it.uniform.flip for it in pairs),
        "right": sum((it.mixed.right or 0) < (it.uniform.right or 0) for it in pairs),
    }
    counts = ", ".join(f"{count} in {name}" for name, count in worse.items())
    print(f"{len(pairs)} sizes; the mix is worse: {counts}")
    if arguments.write:
        results = Results(machine=read_machine(), pictures=arguments.pictures, pairs=tuple(pairs))
        (RESULTS / "mixed-recipes.json").write_text(dump_json(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
