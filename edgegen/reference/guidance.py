"""Guides a part of the steps in diffusers, as the runner does.

Imported in the reference's own process only, and therefore imports torch at the top.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from edgegen_runner.generation import guided_calls

from edgegen.families.base import Family
from edgegen.networks import network_of
from edgegen.networks.base import Denoiser


@contextmanager
def guided_part(pipeline: Any, family: Family, start: float, stop: float) -> Iterator[None]:
    """Let classifier-free guidance act on the denoiser's calls from `start` to `stop`, 0…1.

    diffusers computes u + scale · (t − u) from the predictions without and with the prompt. In the
    other calls u becomes t, and so does what is computed from them. Where a picture is edited there
    are three predictions, the one with the prompt first. For images that are guided.
    """
    if (start, stop) == (0.0, 1.0):
        yield
        return
    calls = 0

    def keep_prompted(_module: torch.nn.Module, _inputs: Any, output: Any) -> Any:
        nonlocal calls
        guided = guided_calls(start, stop, calls_of(pipeline))
        calls += 1
        if calls - 1 in guided:
            return output
        count = family.facts.predictions
        prompted = output[0].chunk(count)[0 if count == 3 else 1]
        return (torch.cat([prompted] * count), *output[1:])

    denoiser: torch.nn.Module = getattr(pipeline, denoiser_slot(family))
    handle = denoiser.register_forward_hook(keep_prompted)
    try:
        yield
    finally:
        handle.remove()


def calls_of(pipeline: Any) -> int:
    """Return the denoiser's calls for the image that is being drawn.

    From a picture they are fewer than the scheduler has timesteps; those pipelines keep the number.
    """
    known: int | None = getattr(pipeline, "_num_timesteps", None)
    return len(pipeline.scheduler.timesteps) if known is None else known


def denoiser_slot(family: Family) -> str:
    """Return the entry of a pipeline that its denoiser fills."""
    return next(
        slot.name
        for slot in family.slots
        if any(isinstance(network_of(name), Denoiser) for name in slot.classes)
    )
