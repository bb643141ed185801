"""Pruned tiny pipelines, cut by made-up scores: what stays is chosen, but not worth anything."""

from __future__ import annotations

import random
from pathlib import Path

from edgegen.core.package import StageCost
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.pruning.run import PrunePlan, prune
from edgegen.pruning.scores import Scores, Structure
from edgegen.pruning.select import WHAT, Kept, select
from edgegen.reference.case import denoiser
from edgegen.reference.modules import build_module
from edgegen.reference.narrowing import blocks_of, layers_of


def structure_of(folder: Path) -> Structure:
    """Return what can be cut of a pipeline's denoiser."""
    component = denoiser(read_pipeline(resolve(str(folder))))
    network = build_module(folder / component.folder, component.class_name)
    return Structure(
        parameters={name: tuple(it.shape) for name, it in network.named_parameters()},
        layers=layers_of(network),
        blocks=blocks_of(network),
    )


def made_up_scores(structure: Structure, *, seed: int = 0, block: float = 1.0) -> Scores:
    """Return scores that are chance; a block's is `block` times the sum of all units'."""
    chance = random.Random(seed)
    units = {
        path: tuple(chance.random() for _ in range(layer.units))
        for path, layer in structure.layers.items()
    }
    whole = sum(sum(losses) for losses in units.values())
    return Scores(
        model="tiny",
        weights_sha256="0" * 64,
        component="unet",
        structure=structure,
        units=units,
        blocks={path: block * whole * chance.random() for path in structure.blocks},
        cases=(),
        cost=StageCost(stage="pruning", wall_s=0, cpu_s=0, peak_memory_bytes=None),
    )


def pruned(source: Path, folder: Path, kept: Kept | float) -> Path:
    """Write the pruned pipeline of a tiny one, and return its folder; a number is a share."""
    structure = structure_of(source)
    scores = made_up_scores(structure, block=0.05)
    model = resolve(str(source))
    spec = read_pipeline(model)
    chosen = kept if isinstance(kept, Kept) else select(scores, kept)
    plan = PrunePlan(model=model, spec=spec, scores=scores, kept=chosen, what=WHAT)
    prune(plan, folder)
    return folder


def all_kinds(structure: Structure) -> Kept:
    """Return a cut of every layer that can be cut, but those in blocks of which half go."""
    blocks = list(structure.blocks)
    dropped = tuple(blocks[1::3])
    units = {
        path: tuple(range(1, layer.units, 2))
        for path, layer in structure.layers.items()
        if not any(path == it or path.startswith(f"{it}.") for it in dropped)
    }
    return Kept(units=units, dropped=dropped)
