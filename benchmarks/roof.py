"""What a processor and its memory can do at most: the roof that runtimes are held against.

    python benchmarks/roof.py [--threads 2]

Matrix products and convolutions as large as Stable Diffusion 1.5's, in torch, which has oneDNN's
kernels; the best of several. A tool may be above it by a little: it is measured, not computed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_REPEATS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """GFLOP/s by type (a multiplication and an addition are two), and GB/s of copying memory.

    A type that torch cannot compute in here is None.
    """

    products: dict[str, float | None]
    convolutions: dict[str, float | None]
    copied_gb_s: float
    threads: int

    def highest(self, kind: str) -> float | None:
        """Return the higher of a type's two."""
        known = [it for it in (self.products.get(kind), self.convolutions.get(kind)) if it]
        return max(known, default=None)


def measure(threads: int) -> Roof:
    """Measure this machine in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--threads", str(threads), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Roof(**json.loads(done.stdout))


def _here(threads: int) -> Roof:
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)

    def product(dtype: torch.dtype) -> float:
        left, right = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
        return _rate(lambda: torch.matmul(left, right), 2 * 2048**3)

    def product_int8() -> float:
        left, right = (torch.randint(-99, 99, (2048, 2048), dtype=torch.int8) for _ in range(2))
        return _rate(lambda: torch._int_mm(left, right), 2 * 2048**3)

    def convolution(dtype: torch.dtype) -> float:
        sample = torch.randn(1, 320, 64, 64).to(dtype).to(memory_format=torch.channels_last)
        layer = torch.nn.Conv2d(320, 320, 3, padding=1).to(dtype)
        layer = layer.to(memory_format=torch.channels_last)
        return _rate(lambda: layer(sample), 2 * 320 * 320 * 9 * 64 * 64)

    types = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    block = torch.empty(1 << 28, dtype=torch.uint8)
    other = torch.ones_like(block)
    with torch.inference_mode():
        return Roof(
            products={
                **{name: _tried(lambda it=it: product(it)) for name, it in types.items()},
                "int8": _tried(product_int8),
            },
            convolutions={
                name: _tried(lambda it=it: convolution(it)) for name, it in types.items()
            },
            copied_gb_s=_rate(lambda: block.copy_(other), 2 * block.numel()),
            threads=threads,
        )


def _rate(work: Callable[[], object], amount: int) -> float:
    """Return the highest rate of several tries, in billions a second."""
    work()
    best_s = min(_seconds(work) for _ in range(_REPEATS))
    return amount / best_s / 1e9


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _tried(measured: Callable[[], float]) -> float | None:
    try:
        return measured()
    except RuntimeError:  # torch has no kernel for it here
        return None


def describe(roof: Roof) -> str:
    """Return it as one line."""

    def told(rates: dict[str, float | None]) -> str:
        return ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items() if rate)

    return (
        f"{roof.threads} threads: matrix products {told(roof.products)} GFLOP/s; convolutions "
        f"{told(roof.convolutions)} GFLOP/s; memory copied at {roof.copied_gb_s:.1f} GB/s"
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    roof = _here(options.threads)
    fields = {name: getattr(roof, name) for name in roof.__dataclass_fields__}
    print(json.dumps(fields) if options.json else describe(roof))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
