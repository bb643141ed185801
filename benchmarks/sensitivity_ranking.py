"""Holds `edgegen sensitivity` against trying everything: each layer alone, in each type of storage.

    python benchmarks/sensitivity_ranking.py [--model NAME …] [--storage NAME …] [--every N]

For each pair of a layer and a storage the whole pipeline draws again in torch, with that layer's
weights as the codec restores them, and the mean squared error of the pictures is what it really
costs, in other noise than the table was measured with. Printed is Spearman's rank correlation with
the table: of all pairs, and of the pairs of each storage and of each component. An encoder isn't in
it: nothing is drawn with it. With `--every 4` only each fourth layer is tried.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from benchmarks.machine import Machine, read_machine
from edgegen.compress.codecs import CODECS
from edgegen.core.codec import dump_json
from edgegen.core.model import Component, PipelineSpec
from edgegen.core.package import GoldenCase, StageCost
from edgegen.core.progress import SilentProgress
from edgegen.core.sensitivity import Sensitivity
from edgegen.models.pipeline_source import folder_source, open_source
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.packaging.source_hash import weights_sha256
from edgegen.reference.pipeline import Reference, load_reference
from edgegen.reference.trajectory import case_arguments
from edgegen.sensitivity.gradients import DifferentiableWeights
from edgegen.sensitivity.losses import stored_error
from edgegen.sensitivity.run import measure_sensitivity

RESULTS = Path(__file__).parent / "results"
MODELS = ("builtin:scenes-4step-tiny", "builtin:emoji")
STORAGES = ("int8", "int4", "palette2")
SEEDS_APART = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A layer in a storage: what the table says, and what drawing showed (mean squared errors)."""

    component: str
    layer: str
    storage: str
    predicted: float
    measured: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """A model's pairs, how their two rankings agree, and what each way took."""

    model: str
    steps: int
    pictures: int
    pairs: tuple[Pair, ...]
    spearman: float
    by_storage: Mapping[str, float]
    by_component: Mapping[str, float]
    table: StageCost
    exhaustive_cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All models, and the machine."""

    machine: Machine
    rankings: tuple[Ranking, ...]


def spearman(pairs: Sequence[Pair]) -> float:
    """Return the correlation of the ranks of what was predicted and measured; ties share theirs."""
    ranks = [_ranks([it.predicted for it in pairs]), _ranks([it.measured for it in pairs])]
    return float(np.corrcoef(ranks)[0, 1])


def _ranks(values: Sequence[float]) -> Any:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]


def rank(name: str, storages: Sequence[str], every: int = 1) -> Ranking:
    """Measure a model both ways."""
    folder = resolve(name, progress=SilentProgress())
    spec = read_pipeline(folder)
    source = folder_source(folder.path)
    sha256 = weights_sha256(folder.path, spec.components, SilentProgress())
    table = measure_sensitivity(
        spec, source, weights_sha256=sha256, progress=SilentProgress(), fresh=True
    )
    started_s = time.process_time()
    weights = DifferentiableWeights()
    reference = load_reference(spec, open_source(source), weights)
    cases = [replace(case, seed=case.seed + SEEDS_APART) for case in table.cases]
    with torch.inference_mode():
        _keep_in_memory(reference, weights)
        pairs = tuple(_pairs(spec, reference, cases, table, storages, every))
    return Ranking(
        model=name,
        steps=cases[0].steps,
        pictures=len(cases),
        pairs=pairs,
        spearman=spearman(pairs),
        by_storage=_by(pairs, lambda pair: pair.storage),
        by_component=_by(pairs, lambda pair: pair.component),
        table=table.cost,
        exhaustive_cpu_s=time.process_time() - started_s,
    )


def _keep_in_memory(reference: Reference, weights: DifferentiableWeights) -> None:
    """Give modules their weights, instead of the stubs that stand for them."""
    for module in reference.modules.values():
        for name, stub in list(module.named_parameters()):
            path, _, attribute = name.rpartition(".")
            whole = torch.nn.Parameter(torch.from_numpy(weights.read(stub)), requires_grad=False)
            module.get_submodule(path)._parameters[attribute] = whole


def _pairs(
    spec: PipelineSpec,
    reference: Reference,
    cases: Sequence[GoldenCase],
    table: Sensitivity,
    storages: Sequence[str],
    every: int,
) -> Iterator[Pair]:
    plain = _draw(spec, reference, cases)
    components: Mapping[str, Component] = {it.name: it for it in spec.components}
    drawing = [it for it in table.layers() if components[it[0]].role != "encoder"]
    for component, layer, found in drawing[::every]:
        module = reference.modules[components[component].folder].get_submodule(layer)
        matrices = [it for it in module.parameters(recurse=False) if it.ndim > 1]
        kept = [it.data.clone() for it in matrices]
        for storage in storages:
            for matrix, whole in zip(matrices, kept, strict=True):
                error = stored_error(whole.numpy(), CODECS[storage])
                matrix.data = whole + torch.from_numpy(error)
            moved = _draw(spec, reference, cases)
            yield Pair(
                component=component,
                layer=layer,
                storage=storage,
                predicted=found.losses[storage],
                measured=float(np.square(moved - plain, dtype=np.float64).mean()),
            )
        for matrix, whole in zip(matrices, kept, strict=True):
            matrix.data = whole


def _draw(spec: PipelineSpec, reference: Reference, cases: Sequence[GoldenCase]) -> Any:
    """Return the pictures of all cases, in one batch: (cases, height, width, 3) in 0…1."""
    pipeline = reference.pipeline
    arguments = case_arguments(spec, cases[0], Path(tempfile.gettempdir()))
    arguments["prompt"] = [case.prompt for case in cases]
    if "negative_prompt" in arguments:
        arguments["negative_prompt"] = [case.negative_prompt for case in cases]
    arguments["generator"] = [torch.Generator().manual_seed(case.seed) for case in cases]
    return inspect.unwrap(type(pipeline).__call__)(pipeline, **arguments).images


def _by(pairs: Sequence[Pair], of: Callable[[Pair], str]) -> dict[str, float]:
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(of(pair), []).append(pair)
    return {name: spearman(group) for name, group in groups.items()}


def main() -> int:
    """Print the rankings' agreement, model by model."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", action="append", dest="models")
    parser.add_argument("--storage", action="append", dest="storages")
    parser.add_argument("--every", type=int, default=1, help="try each Nth layer only")
    parser.add_argument("--write", action="store_true", help="keep it in results/")
    arguments = parser.parse_args()
    rankings = []
    for name in arguments.models or MODELS:
        found = rank(name, arguments.storages or STORAGES, arguments.every)
        rankings.append(found)
        print(f"{name}: {len(found.pairs)} pairs, Spearman {found.spearman:.3f}")
        for what in (found.by_storage, found.by_component):
            print("  " + ", ".join(f"{key} {value:.3f}" for key, value in what.items()))
        print(
            f"  the table took {found.table.cpu_s:.0f} s of CPU, "
            f"trying everything {found.exhaustive_cpu_s:.0f} s",
            flush=True,
        )
    if arguments.write:
        results = Results(machine=read_machine(), rankings=tuple(rankings))
        (RESULTS / "sensitivity-ranking.json").write_text(dump_json(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
