"""Keeps features between the steps of diffusers' pipelines, as the runner does.

The network is diffusers' own: modules whose outputs may wait return those of the last whole call.
That is what DeepCache's helper does (github.com/horseee/DeepCache, `DeepCacheSDHelper`), at its
branch 0 and with uniform intervals.

Imported in the reference's own process only, and therefore imports torch at the top.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from edgegen_runner.generation import computes_all, guided_calls

from edgegen.core.errors import ConfigError
from edgegen.families.base import Family
from edgegen.networks import denoiser_of
from edgegen.networks.base import Caching
from edgegen.reference.guidance import calls_of, denoiser_slot


@contextmanager
def cached_features(
    pipeline: Any, family: Family, interval: int, guided: tuple[float, float]
) -> Iterator[None]:
    """Let one image's calls of the denoiser compute all layers once in `interval` calls.

    `guided` is the part of the calls that is guided, 0…1. Raises ConfigError for a denoiser that
    keeps no features.
    """
    if interval == 1:
        yield
        return
    denoiser: torch.nn.Module = getattr(pipeline, denoiser_slot(family))
    calls, whole = 0, True

    def begin(_module: torch.nn.Module, _inputs: Any) -> None:
        nonlocal calls, whole
        whole = computes_all(calls, interval, guided_calls(*guided, calls_of(pipeline)))
        calls += 1

    def keeping(module: torch.nn.Module) -> None:
        compute, kept = module.forward, None

        def forward(*inputs: Any, **named: Any) -> Any:
            nonlocal kept
            if whole:
                kept = compute(*inputs, **named)
            return kept

        module.forward = forward

    modules = list(_caching_of(denoiser).kept(denoiser))
    handle = denoiser.register_forward_pre_hook(begin)
    try:
        for module in modules:
            keeping(module)
        yield
    finally:
        handle.remove()
        for module in modules:
            vars(module).pop("forward", None)


def _caching_of(denoiser: torch.nn.Module) -> Caching:
    name = type(denoiser).__name__
    caching = denoiser_of(name).caching
    if caching is None:
        raise ConfigError(
            f"A {name} keeps no features between steps.", hint="Leave --cache-interval out."
        )
    return caching
