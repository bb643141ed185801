"""In which type a runtime computes what a package gives in float32, and what a processor lacks.

A runtime may round the operands of its products to 16 bits, where the processor multiplies these
faster, and add them up in float32. Which types there are is the processor's and the runtime's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Optional, Protocol

from .errors import RunnerFailure

FLOAT32, BFLOAT16, FLOAT16 = ARITHMETICS = ("float32", "bfloat16", "float16")

_FEATURES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    BFLOAT16: (("avx512_bf16",), ("amx_bf16",), ("bf16",)),
    FLOAT16: (("avx512_fp16",), ("amx_fp16",), ("fphp", "asimdhp")),
}
"""What Linux calls the instructions in /proc/cpuinfo, of x86 and of Arm: all of one tuple are one
processor's (arch/x86/include/asm/cpufeatures.h, Documentation/arch/arm64/elf_hwcaps.rst)."""


def processor_gap(arithmetic: str, features: Optional[frozenset[str]] = None) -> str:
    """Return why this processor doesn't compute in a type, empty where it does or nobody says.

    ``features`` are its own by default. A processor without the instructions would emulate them,
    slower than float32.
    """
    ways = _FEATURES.get(arithmetic, ())
    known = processor_features() if features is None else features
    if not ways or not known or any(known.issuperset(way) for way in ways):
        return ""
    names = ", ".join(" with ".join(way) for way in ways)
    return f"this processor has no instructions for {arithmetic} (none of {names})"


@lru_cache(maxsize=1)
def processor_features() -> frozenset[str]:
    """Return what Linux says that the processor has; empty where it can't be asked."""
    if not sys.platform.startswith("linux"):
        return frozenset()
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() in ("flags", "Features"):
                    return frozenset(value.split())
    except OSError:
        pass
    return frozenset()


class Computed(Protocol):
    """A component of a package: its name, its recipe's, and the type that this wrote it in."""

    @property
    def name(self) -> str: ...

    @property
    def recipe(self) -> str: ...

    @property
    def compute(self) -> str: ...


def arithmetic_of(
    wanted: Optional[str], component: Computed, gaps: Mapping[str, str], runtime: str
) -> str:
    """Return the type in which a component is computed: ``wanted``, or its recipe's own for None.

    ``gaps`` are the types in which the runtime doesn't compute here, each with the reason.
    Raises RunnerFailure (bad-request) for one of these, and for another type than that of a graph
    in 16 bits.
    """
    own = component.compute
    if wanted is None or wanted == own:
        return own
    if own != FLOAT32:
        raise RunnerFailure(
            "bad-request",
            f"{component.name} cannot be computed in {wanted}: the recipe {component.recipe!r} "
            f"wrote its graph in {own}.",
            "Take a package of a recipe that computes in float32.",
        )
    if wanted in gaps:
        there = [name for name in ARITHMETICS if name not in gaps]
        raise RunnerFailure(
            "bad-request",
            f"{runtime} cannot compute in {wanted} here: {gaps[wanted]}.",
            f"Here it computes in {', '.join(there)}.",
        )
    return wanted
