"""The loop that every stage runs: it goes on where its checkpoint ended, to the same weights.

What a step draws depends on the seed and on its number alone, so a stage that was stopped ten times
sees the same batches as one that never was. Checkpoints are safetensors, written beside their place
and renamed, every five minutes and at the end. Each has the basis that it was trained on
(`basis.py`), and is refused where the run has another.
"""

from __future__ import annotations

import copy
import json
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from training.settings import SEED, Schedule
from training.tables import append_row, drop_rows_after

CHECKPOINT_S = 300.0
REPORT_STEPS = 100

_interrupted = threading.Event()


def stop_when_interrupted() -> None:
    """Let SIGINT and SIGTERM end the run after the step that is under way, with a checkpoint."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _interrupted.set())


def is_over(deadline: float | None) -> bool:
    """Say whether the run has to stop: its deadline has passed, or a signal has come."""
    return _interrupted.is_set() or (deadline is not None and time.monotonic() > deadline)


def in_bfloat16(device: torch.device) -> torch.autocast:
    """Return the context in which a device multiplies in bfloat16, if it has instructions for it.

    On a CPU with AVX-512-BF16 that is twice as fast as float32.
    """
    is_quick = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=is_quick)


Loss = Callable[[nn.Module, torch.Generator], Tensor]
"""Draws a batch with a generator (on the CPU), and returns the loss of a module on it."""


class OutOfTimeError(Exception):
    """The time that a run was given is over; the checkpoint says where to go on."""


class OtherBasisError(Exception):
    """What lies there was made from something else than the run would make it from."""


@dataclass(kw_only=True)
class Stage:
    """One stage: what is trained, on what, and where its checkpoint lies."""

    name: str
    module: nn.Module
    loss: Loss
    schedule: Schedule
    folder: Path
    device: torch.device
    basis: str = ""
    """What `basis_of` says of all that the weights depend on: settings, data, earlier weights."""
    deadline: float | None = None
    """Of `time.monotonic()`; the run stops there with `OutOfTimeError`."""
    watch: Callable[[int, nn.Module], None] | None = None
    """Called with the step and the averaged module after each checkpoint, while the run goes on."""
    is_compiled: bool = False
    """Whether the loss gets the module compiled: minutes at first, then half as fast again."""
    average: nn.Module = field(init=False)
    """The averaged module, while the stage runs."""
    _started: float = field(default_factory=time.monotonic, init=False)

    def run(self) -> nn.Module:
        """Train to the end, or go on; return the averaged module.

        Raises OutOfTimeError, and OtherBasisError where the checkpoint has another basis.
        """
        module = self.module.to(self.device).train()
        self.average = average = copy.deepcopy(module).eval().requires_grad_(False)
        schedule = self.schedule
        optimizer = torch.optim.AdamW(
            module.parameters(),
            schedule.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=schedule.weight_decay,
            fused=True,
        )
        first = self._load(module, average, optimizer)
        for path in (self._curve, self.folder / f"{self.name}.scores.csv"):
            drop_rows_after(path, first)
        called = torch.compile(module, dynamic=False) if self.is_compiled else module
        losses: list[Tensor] = []
        saved = reported = time.monotonic()
        for step in range(first, schedule.steps):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(step)
            generator = torch.Generator().manual_seed(SEED * 1_000_003 + step)
            loss = self.loss(called, generator)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), schedule.clip)
            optimizer.step()
            _follow(average, module, min(schedule.average, (1 + step) / (10 + step)))
            losses.append(loss.detach())
            done = step + 1
            if done % REPORT_STEPS == 0:
                now = time.monotonic()
                self._report(done, float(torch.stack(losses).mean()), len(losses), now - reported)
                losses, reported = [], now
            over = is_over(self.deadline)
            if over or done == schedule.steps or time.monotonic() - saved > CHECKPOINT_S:
                self._save(done, module, average, optimizer)
                if self.watch is not None and (not over or done == schedule.steps):
                    self.watch(done, average)
                saved = time.monotonic()
            if over and done < schedule.steps:
                raise OutOfTimeError(f"{self.name}: stopped after step {done} of {schedule.steps}.")
        return average

    @property
    def _checkpoint(self) -> Path:
        return self.folder / f"{self.name}.checkpoint.safetensors"

    @property
    def _curve(self) -> Path:
        return self.folder / f"{self.name}.curve.csv"

    def _save(
        self, step: int, module: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
    ) -> None:
        tensors = {f"module.{key}": value for key, value in module.state_dict().items()}
        tensors |= {f"average.{key}": value for key, value in average.state_dict().items()}
        for index, parameter in enumerate(module.parameters()):
            for key, value in optimizer.state[parameter].items():
                tensors[f"optimizer.{index}.{key}"] = value
        beside = self._checkpoint.with_suffix(".part")
        tensors = {key: value.detach().contiguous().cpu() for key, value in tensors.items()}
        progress = json.dumps({"step": step})
        save_file(tensors, beside, {"progress": progress, "basis": self.basis})
        beside.replace(self._checkpoint)

    def _load(self, module: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Take up a checkpoint where there is one. Return the number of steps that are done."""
        if not self._checkpoint.exists():
            return 0
        with safe_open(self._checkpoint, "pt", device=str(self.device)) as file:
            metadata = file.metadata()
            if metadata.get("basis") != self.basis:
                raise OtherBasisError(
                    f"{self._checkpoint} was trained on other settings, data or earlier stages."
                    " Remove it to train the stage anew."
                )
            step = int(json.loads(metadata["progress"])["step"])
            keys = list(file.keys())
            for prefix, target in (("module.", module), ("average.", average)):
                own = [key for key in keys if key.startswith(prefix)]
                target.load_state_dict({key[len(prefix) :]: file.get_tensor(key) for key in own})
            for index, parameter in enumerate(module.parameters()):
                state = {
                    key: torch.empty_like(parameter).copy_(
                        file.get_tensor(f"optimizer.{index}.{key}")
                    )
                    for key in ("exp_avg", "exp_avg_sq")  # laid out in memory as the parameter is
                }
                state["step"] = file.get_tensor(f"optimizer.{index}.step").cpu()
                optimizer.state[parameter] = state
        print(f"{self.name}: going on after step {step}", flush=True)
        return step

    def _report(self, step: int, loss: float, steps: int, seconds: float) -> None:
        rate = steps * self.schedule.batch / seconds
        minutes = (time.monotonic() - self._started) / 60
        left = (self.schedule.steps - step) * seconds / steps / 60
        print(
            f"{self.name} {step}/{self.schedule.steps} loss {loss:.4f} {rate:.0f} pictures/s"
            f" {minutes:.1f} min, {left:.0f} min left",
            flush=True,
        )
        append_row(self._curve, ("step", "loss"), (step, f"{loss:.5f}"))


@torch.no_grad()
def _follow(average: nn.Module, module: nn.Module, decay: float) -> None:
    own, new = list(average.parameters()), list(module.parameters())
    torch._foreach_lerp_(own, new, 1 - decay)
