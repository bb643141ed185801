"""Does rounding that knows a layer's inputs pay, with 4-bit weights?

    python benchmarks/rounding.py [--model NAME …] [--recipe TARGET:RECIPE …] [--write]

The model runs its calibration's trajectories in torch; of each layer the inputs' second moments
are kept. Its 4-bit weights are then rounded in each way of `WAYS`, and what comes back draws the
first pictures of the suite `known`, from the model's own prompts and noise. Printed is how far
these are from the model's own, and what collecting and rounding took.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from diffusers import DiffusionPipeline

from benchmarks.machine import Machine, read_machine
from benchmarks.restored_weights import restored
from edgegen.compress.blocks import BLOCK, block_size, least_errors
from edgegen.compress.codec import Granularity
from edgegen.compress.int4 import HIGHEST, LEVELS, SHARES, symmetric
from edgegen.compress.int8 import round_up_to_half
from edgegen.core.codec import dump_json
from edgegen.core.evaluation import EQUAL_DB
from edgegen.core.progress import SilentProgress
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.drawer import DrawRequest
from edgegen.evaluate.metrics import METRICS
from edgegen.evaluate.suite import load_suite, questions
from edgegen.models.source import resolve
from edgegen.networks import part_of
from edgegen.packaging.model_facts import read_facts
from edgegen.reference.calibration_cases import plan_calibration
from edgegen.reference.drawer import TorchDrawer
from edgegen.reference.start_pictures import write_start_pictures
from edgegen.reference.trajectory import case_arguments

RESULTS = Path(__file__).parent / "results"
MODELS = ("builtin:scenes-4step-tiny", "builtin:emoji")
RECIPES = ("onnx:int4", "coreml:int4", "coreml:int4-sensitive")
GRIDS = partial(symmetric, shares=SHARES, half_scales=True)
DAMPING = 0.01
"""Of the mean of a matrix of second moments, added to its diagonal (GPTQ, arXiv 2210.17323)."""
POWERS = (0.0, 0.25, 0.5, 0.75)
"""How much of the inputs' magnitudes columns are scaled by (AWQ, arXiv 2306.00978)."""
SEED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a way of rounding draws; `seconds` is the processor time of rounding all weights."""

    model: str
    recipe: str
    way: str
    psnr_db: float
    flip: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All ways; `collecting_s` is the processor time of the trajectories, by model and kind."""

    machine: Machine
    pictures: int
    collecting_s: Mapping[str, float]
    results: tuple[Result, ...]


@dataclass(slots=True)
class Inputs:
    """Sums over the positions of a layer's input, as columns of its weight: (columns, columns)."""

    products: torch.Tensor
    sums: torch.Tensor
    count: int = 0

    @property
    def moments(self) -> torch.Tensor:
        """Return the mean of x xᵀ."""
        return self.products / max(1, self.count)

    @property
    def means(self) -> torch.Tensor:
        """Return the mean of x."""
        return self.sums / max(1, self.count)


class Collector:
    """Sums up the inputs of linear layers and convolutions while a pipeline runs."""

    def __init__(self) -> None:
        self.found: dict[int, Inputs] = {}

    @contextmanager
    def watching(self, layers: Sequence[torch.nn.Module]) -> Iterator[None]:
        handles = [layer.register_forward_pre_hook(self._see) for layer in layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _see(self, layer: Any, arguments: Any) -> None:
        value = arguments[0]
        if isinstance(layer, torch.nn.Conv2d):
            columns = torch.nn.functional.unfold(
                value, layer.kernel_size, layer.dilation, layer.padding, layer.stride
            )
            rows = columns.transpose(1, 2).reshape(-1, columns.shape[1])
        else:
            rows = value.reshape(-1, value.shape[-1])
        width = rows.shape[1]
        seen = self.found.setdefault(
            id(layer), Inputs(torch.zeros(width, width), torch.zeros(width))
        )
        seen.products.addmm_(rows.T, rows)
        seen.sums += rows.sum(0)
        seen.count += len(rows)


def columns_of_a_block(weight: torch.Tensor) -> int:
    """Return how many columns share a scale: whole kernels of so many input channels."""
    per_channel = int(np.prod(weight.shape[2:]))
    return block_size(weight.shape[1], BLOCK) * per_channel


def nearest(_inputs: Inputs, weight: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(restored(weight.numpy(), "int4", Granularity()))


def weighted(inputs: Inputs, weight: torch.Tensor) -> torch.Tensor:
    """Choose scales by the squared error that the inputs' second moments weigh."""
    flat, block = weight.flatten(1), columns_of_a_block(weight)
    importance = inputs.moments.diagonal().clamp(min=1e-12)
    found = torch.empty_like(flat)
    for start in range(0, flat.shape[1], block):
        part = flat[:, start : start + block]
        share = importance[start : start + block]
        highest = part.abs().amax(1, keepdim=True)
        best = torch.full_like(highest, torch.inf)
        for factor in np.arange(1.0, 0.6, -0.025):
            scale = _half(highest * float(factor) / HIGHEST)
            back = (part / scale).round().clamp(-HIGHEST, HIGHEST) * scale
            error = ((back - part).square() * share).sum(1, keepdim=True)
            found[:, start : start + block] = torch.where(
                error < best, back, found[:, start : start + block]
            )
            best = torch.minimum(best, error)
    return found.reshape(weight.shape)


def gptq(inputs: Inputs, weight: torch.Tensor) -> torch.Tensor:
    """Round column by column; what a column loses, those after it make up for."""
    flat, block = weight.flatten(1).clone(), columns_of_a_block(weight)
    moments = inputs.moments.clone()
    unused = moments.diagonal() == 0
    moments.diagonal()[unused] = 1.0
    moments.diagonal().add_(DAMPING * float(moments.diagonal().mean()))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moments))
    upper = torch.linalg.cholesky(inverse, upper=True)
    for start in range(0, flat.shape[1], block):
        end = start + block
        part = flat[:, start:end]
        found = least_errors(part.numpy()[:, None], np.dtype(np.int8), levels=LEVELS, grids=GRIDS)
        scales = found[1]
        scale = torch.from_numpy(scales)[:, 0]
        errors = torch.empty_like(part)
        own = upper[start:end, start:end]
        for column in range(part.shape[1]):
            whole = part[:, column].clone()
            back = (whole / scale).round().clamp(-HIGHEST, HIGHEST) * scale
            errors[:, column] = (whole - back) / own[column, column]
            part[:, column:] -= errors[:, column, None] * own[column, column:]
            part[:, column] = back
        flat[:, end:] -= errors @ upper[start:end, end:]
    return flat.reshape(weight.shape)


def equalized(inputs: Inputs, weight: torch.Tensor) -> torch.Tensor:
    """Scale input channels before rounding, and back; by the power that loses least."""
    flat = weight.flatten(1)
    moments = inputs.moments
    per_channel = int(np.prod(weight.shape[2:]))
    magnitude = moments.diagonal().reshape(-1, per_channel).mean(1).sqrt().clamp(min=1e-6)
    best, found = np.inf, flat
    for power in POWERS:
        scale = magnitude**power
        scale = (scale / (scale.max() * scale.min()).sqrt()).repeat_interleave(per_channel)
        back = nearest(inputs, (flat * scale).reshape(weight.shape)).flatten(1) / scale
        error = back - flat
        lost = float(((error @ moments) * error).sum())
        if lost < best:
            best, found = lost, back
    return found.reshape(weight.shape)


def _half(scale: torch.Tensor) -> torch.Tensor:
    positive = torch.where(scale > 0, scale, torch.ones_like(scale))
    return torch.from_numpy(round_up_to_half(positive.numpy()))


@dataclass(frozen=True, slots=True)
class Way:
    """How weights are rounded, and whether biases are moved by what that shifts on average.

    With `matrices_only` kernels are rounded to the nearest.
    """

    rounding: Callable[[Inputs, torch.Tensor], torch.Tensor]
    biases: bool = False
    matrices_only: bool = False


WAYS: Mapping[str, Way] = {
    "nearest": Way(nearest),
    "nearest, biases corrected": Way(nearest, biases=True),
    "scales weighted by inputs": Way(weighted),
    "channels equalized": Way(equalized),
    "GPTQ of matrices": Way(gptq, matrices_only=True),
    "GPTQ": Way(gptq),
    "GPTQ, biases corrected": Way(gptq, biases=True),
}


class Studio:
    """Draws a model's questions with weights that were rounded in some way."""

    def __init__(self, model: str, pictures: int) -> None:
        self.model = model
        self.facts = read_facts(resolve(model, progress=SilentProgress()))
        pipeline = DiffusionPipeline.from_pretrained(self.facts.folder, dtype=torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        self.pipeline: Any = pipeline
        spec = self.facts.spec
        self._drawer = TorchDrawer(pipeline, spec.family, spec.generation)
        asked = questions(load_suite("known", model), pictures)
        self._requests = [DrawRequest(prompt=it.prompt, seed=it.seed) for it in asked]
        self._whole = {
            id(layer): (layer.weight.data, None if layer.bias is None else layer.bias.data)
            for _, _, layer in self._layers()
        }
        self._plain = self._draw()
        self.collector = Collector()
        began_s = time.process_time()
        watched = [layer for _, _, layer in self._layers()]
        with self.collector.watching(watched), tempfile.TemporaryDirectory() as scratch:
            self._calibrate(Path(scratch))
        self.collecting_s = time.process_time() - began_s

    def judged(self, target: str, name: str, way: Way) -> tuple[float, float, float]:
        """Return PSNR, FLIP and the seconds of rounding, of a recipe's weights in a way."""
        seconds = self._store(target, name, way)
        pairs = list(zip(self._plain, self._draw(), strict=True))
        ratios = [METRICS["psnr"].compute(*pair) for pair in pairs]
        flips = [METRICS["flip"].compute(*pair) for pair in pairs]
        return (
            float(np.mean([EQUAL_DB if it is None else it for it in ratios])),
            float(np.mean([it for it in flips if it is not None])),
            seconds,
        )

    def _layers(self) -> Iterator[tuple[Any, str, Any]]:
        for component in self.facts.spec.components:
            module, prefixes = getattr(self.pipeline, component.folder), part_of(component).prefixes
            for path, layer in module.named_modules():
                is_ours = f"{path}.".startswith(prefixes)
                if is_ours and isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)):
                    yield component, path, layer

    def _calibrate(self, scratch: Path) -> None:
        spec = self.facts.spec
        for case in plan_calibration(spec, self.facts.folder, full=False):
            write_start_pictures(spec, scratch, width=case.width, height=case.height)
            with torch.inference_mode():
                self.pipeline(**case_arguments(spec, case, scratch))

    def _store(self, target_name: str, recipe_name: str, way: Way) -> float:
        target = load_target(target_name)
        recipe = load_recipe(recipe_name, target)
        seconds = 0.0
        for component, path, layer in self._layers():
            whole, bias = self._whole[id(layer)]
            layer.weight.data = whole
            if bias is not None:
                layer.bias.data = bias
            if whole.numel() <= target.sizes.small:
                continue
            types = recipe.of(component)
            storage = target.sizes.held_as(
                types.storage_of(path), tuple(whole.shape), types.block or BLOCK
            )
            if storage != "int4":
                back = torch.from_numpy(restored(whole.numpy(), storage, Granularity()))
                layer.weight.data = back
                continue
            inputs = self.collector.found.get(id(layer))
            began_s = time.process_time()
            # an encoder that nothing was drawn from has no inputs
            is_left = inputs is None or (way.matrices_only and whole.ndim > 2)
            rounding = nearest if is_left else way.rounding
            back = rounding(inputs, whole)  # type: ignore[arg-type]
            if way.biases and bias is not None and inputs is not None:
                layer.bias.data = bias - (back - whole).flatten(1) @ inputs.means
            seconds += time.process_time() - began_s
            layer.weight.data = back
        return seconds

    def _draw(self) -> list[Any]:
        return list(self._drawer.draw(self._requests))


def main() -> int:
    """Print every way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", action="append", dest="models")
    parser.add_argument("--recipe", action="append", dest="recipes")
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--write", action="store_true", help="keep it in results/")
    options = parser.parse_args()
    torch.manual_seed(SEED)
    found: list[Result] = []
    collecting: dict[str, float] = {}
    for model in options.models or MODELS:
        studio = Studio(model, options.pictures)
        collecting[model] = round(studio.collecting_s, 1)
        print(f"{model}: second moments in {studio.collecting_s:.0f} CPU s", flush=True)
        for recipe in options.recipes or RECIPES:
            target, _, name = recipe.partition(":")
            for words, way in WAYS.items():
                psnr_db, flip, seconds = studio.judged(target, name, way)
                result = Result(
                    model=model,
                    recipe=recipe,
                    way=words,
                    psnr_db=round(psnr_db, 2),
                    flip=round(flip, 4),
                    seconds=round(seconds, 1),
                )
                found.append(result)
                print(
                    f"{model} {recipe} {words}: {psnr_db:.1f} dB, FLIP {flip:.4f}, "
                    f"{seconds:.0f} CPU s",
                    flush=True,
                )
    if options.write:
        results = Results(
            machine=read_machine(),
            pictures=options.pictures,
            collecting_s=collecting,
            results=tuple(found),
        )
        (RESULTS / "rounding.json").write_text(dump_json(results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
