"""Which parts of a request only some families know: the others refuse them, not ignore them."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import RunnerFailure
from ..generation import REDRAWING
from ..package import Package
from ..request import Request

_OF_STARTS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "depth": (("depth",), "depth map"),
    "image_guidance": (("edit",), "guidance by a picture that is edited"),
    "noise_level": (("upscale",), "noise level of a picture that is enlarged"),
}
"""Part of a request -> the starts that know it, and what it is."""


def check_taken(package: Package, request: Request) -> None:
    """Check that a package's family knows all that a request says.

    Raises RunnerFailure (bad-request) that names the family and the option.
    """
    for name, (starts, what) in _OF_STARTS.items():
        if getattr(request, name) is not None and not set(starts) & set(package.facts.starts):
            raise _refused(package, what, name)
    _check_class(package, request)
    is_redrawn = set(REDRAWING) & set(package.facts.starts)
    if request.strength is not None and package.facts.needs_picture and not is_redrawn:
        raise _refused(package, "strength: its images begin in noise", "strength")


def _check_class(package: Package, request: Request) -> None:
    """Check that a class of images is given where there are some, and one of them."""
    classes, label = package.generation.classes, request.class_label
    if classes is None:
        if label is not None:
            raise _refused(package, "class of images", "class_label")
    elif label is None or not 0 <= label < classes:
        given = "none is given" if label is None else f"{label} is none of them"
        raise RunnerFailure(
            "bad-request",
            f"This model draws images of {classes} classes, and {given}.",
            f"Give --class-label 0 to {classes - 1}.",
        )


def _refused(package: Package, what: str, name: str) -> RunnerFailure:
    return RunnerFailure(
        "bad-request",
        f"A model of the family {package.family} takes no {what}.",
        f"Leave --{name.replace('_', '-')} out.",
    )
