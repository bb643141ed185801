"""Says which pruned model would help where nothing passes, and how `edgegen slim` makes it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from math import floor

from edgegen.choose.space import Space
from edgegen.core.choice import Advice, Row
from edgegen.core.figures import UNKNOWN, Figure, Limit
from edgegen.core.model import Component, PipelineSpec
from edgegen.models.origin import read_origin
from edgegen.packaging.candidate import predict

LEAST_SHARE = 0.38
"""The smallest UNet of BK-SDM keeps 0.33 of 0.86 billion weights (arXiv 2305.15798, table 1)."""

_GONE = (0.88, 0.94, 1.0)
"""What part of the cut weights' share a package loses: at least, about, and at most.

Graphs, norms and scales don't shrink in step. `builtin:scenes-4step-tiny`, cut to 50 and to 40 %:
0.89 (openvino int4) to 0.98 (onnx fp16-storage), of seven recipes of four targets.
"""


def pruned_for_size(
    limit: Limit, row: Row, package: str, space: Space, originals: Mapping[str, str]
) -> Iterator[Advice]:
    """Name the share of a model's denoiser with which a package of it would fit a size.

    Nothing where too little would stay, where a model that was cut as far is a candidate already,
    and for models that `slim` refuses.
    """
    made, facts = space.built_as.get(package), space.facts_of(row.way)
    size = row.figures.get("size", UNKNOWN).value
    spec, model = facts.spec, row.way.model
    is_plain = not spec.adapters and spec.form is None and spec.original is None
    if made is None or size is None or not is_plain or row.way.cache_interval > 1:
        return
    denoiser_bytes = predict(made, facts).component_bytes[_denoiser(spec).name]
    share = floor(100 * (1 - (size - limit.value) / (_GONE[0] * denoiser_bytes))) / 100
    if not LEAST_SHARE <= share < 1 or share >= _least_kept(model, space, originals):
        return
    called, folder = shlex.quote(model), f"{space.packages[package].model.name}-{share:g}"
    high, value, low = (size - part * (1 - share) * denoiser_bytes for part in _GONE)
    yield Advice(
        change=f"{model}: a pruned one as {row.way.target} {row.way.recipe}, "
        f"edgegen slim {called} --to {share:g} -o {shlex.quote(folder)}, beside it among the "
        f"models: edgegen choose {called} {shlex.quote('./' + folder)}",
        way=row.way,
        predicted={
            "size": Figure(
                value=value,
                low=low,
                high=high,
                origin="predicted",
                source="the share of the denoiser's weights",
            )
        },
    )


def recovered(row: Row, space: Space, originals: Mapping[str, str]) -> Iterator[Advice]:
    """Say that a pruned model which draws too badly may learn from its original."""
    original = originals.get(row.way.model)
    origin = read_origin(space.facts[row.way.model].folder)
    if original is None or origin is None:
        return
    learned = origin.recovery
    if learned is not None and learned.is_over:
        return
    share = origin.kept_numbers / origin.numbers
    yield Advice(
        change=f"{row.way.model}: let it learn {'for longer ' if learned else ''}from its original "
        f"(edgegen slim {shlex.quote(original)} --to {share:.2g} --recover 1h)",
        way=row.way,
    )


def _least_kept(model: str, space: Space, originals: Mapping[str, str]) -> float:
    """Return the least share of a model's denoiser that a pruned one among the models kept."""
    whole = _denoiser(space.facts[model].spec).parameters
    kept = [
        _denoiser(space.facts[name].spec).parameters / whole
        for name, original in originals.items()
        if original == model
    ]
    return min(kept, default=1.0)


def _denoiser(spec: PipelineSpec) -> Component:
    return next(it for it in spec.components if it.role == "denoiser")
