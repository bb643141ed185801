"""A network that learns: its weights, their average, and a checkpoint that it goes on from.

A checkpoint is a safetensors file, written beside its place and renamed; a kill at any moment
leaves the last one. What is handed on at the end is the average that was best at what was held out.

Imported in the recovering process only, and therefore imports torch at the top.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

LEARNING_RATE = 1e-4
_LAST_RATE = 0.05
"""Of the first, at the end of the time."""
_BACK_AFTER = 3
"""Looks without a better one, after which it goes on from the best one, in smaller steps."""
_SMALLER = 0.3
_WARM_UP_STEPS = 20
_BETAS = (0.9, 0.98)
_CLIP = 1.0
_AVERAGE = 0.99


@dataclass(slots=True)
class Standing:
    """How far a student is.

    `patience` counts the looks since the best one; steps are `rate` times as large as at first.
    """

    step: int = 0
    round: int = 0
    seconds: float = 0.0
    loss_before: float = math.inf
    best: float = math.inf
    patience: int = 0
    rate: float = 1.0


class Student:
    """A network in training; `average` follows it, and `best` is what the average was."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network.train().requires_grad_(True)
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.best = {name: it.detach().clone() for name, it in self.average.named_parameters()}
        self.standing = Standing()
        self._optimizer = torch.optim.AdamW(
            network.parameters(), LEARNING_RATE, betas=_BETAS, weight_decay=0.0
        )

    def learn(self, loss: torch.Tensor, done_share: float) -> None:
        """Take a step; `done_share` (0…1) of the time is over."""
        step = self.standing.step
        decayed = 1 - (1 - _LAST_RATE) * min(1.0, done_share)
        for group in self._optimizer.param_groups:
            warm = min(1.0, (step + 1) / _WARM_UP_STEPS)
            group["lr"] = LEARNING_RATE * self.standing.rate * decayed * warm
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
        self._optimizer.step()
        decay = min(_AVERAGE, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.network.parameters()), 1 - decay
            )
        self.standing.step += 1

    def looked_at(self, loss: float) -> None:
        """Keep the average where it is the best that was ever looked at.

        A network that is near its original already is led away from it by large steps: after a few
        looks without a better one, learning begins again at the best, in smaller steps.
        """
        if loss < self.standing.best:
            self.standing.patience = 0
            self.standing.best = loss
            for name, parameter in self.average.named_parameters():
                self.best[name].copy_(parameter.detach())
            return
        self.standing.patience += 1
        if self.standing.patience % _BACK_AFTER == 0:
            self.standing.rate *= _SMALLER
            self._optimizer.state.clear()
            with torch.no_grad():
                for network in (self.network, self.average):
                    for name, parameter in network.named_parameters():
                        parameter.copy_(self.best[name])

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        tensors: dict[str, torch.Tensor] = {f"best.{name}": it for name, it in self.best.items()}
        tensors |= {f"average.{name}": it for name, it in self.average.named_parameters()}
        for name, parameter in self.network.named_parameters():
            tensors[f"network.{name}"] = parameter
            for key, value in self._optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{key}.{name}"] = value
        written = {name: it.detach().contiguous().cpu() for name, it in tensors.items()}
        standing = {it.name: getattr(self.standing, it.name) for it in fields(Standing)}
        beside = path.with_suffix(".part")
        save_file(written, beside, {"standing": json.dumps(standing)})
        beside.replace(path)

    def load(self, path: Path) -> bool:
        """Go on from a checkpoint; return whether there was one that could be read."""
        if not path.is_file():
            return False
        try:
            with safe_open(path, "pt") as file:
                standing = json.loads(file.metadata()["standing"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, TypeError, ValueError):
            return False
        self._take(tensors, standing)
        return True

    def _take(self, tensors: Mapping[str, torch.Tensor], standing: Mapping[str, Any]) -> None:
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(tensors[f"network.{name}"])
                if f"optimizer.exp_avg.{name}" in tensors:
                    self._optimizer.state[parameter] = {
                        "exp_avg": tensors[f"optimizer.exp_avg.{name}"].to(parameter.device),
                        "exp_avg_sq": tensors[f"optimizer.exp_avg_sq.{name}"].to(parameter.device),
                        "step": tensors[f"optimizer.step.{name}"],
                    }
            for name, parameter in self.average.named_parameters():
                parameter.copy_(tensors[f"average.{name}"])
                self.best[name].copy_(tensors[f"best.{name}"])
        self.standing = Standing(**standing)
