"""What ONNX decides of a package: the operators that its graphs may use."""

from __future__ import annotations

from dataclasses import dataclass

from edgegen.core.profile import DeviceProfile, OperatorSet, RuntimeOptions
from edgegen.core.recipe import Recipe
from edgegen.core.target import TargetSpec
from edgegen.exporters.options import TargetOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxOptions(TargetOptions):
    """`operators` says whether a graph may use ONNX Runtime's own `com.microsoft` operators."""

    operators: OperatorSet = "contrib"


def resolve(
    target: TargetSpec, recipe: Recipe, runtime: RuntimeOptions, profile: DeviceProfile | None
) -> OnnxOptions:
    """Return ONNX's options for a runtime."""
    return OnnxOptions(operators=runtime.operators)
