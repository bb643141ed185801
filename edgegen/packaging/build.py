"""Builds one package: a batch of one, whose error is raised."""

from __future__ import annotations

from edgegen.core.errors import EdgegenError
from edgegen.core.progress import Progress
from edgegen.packaging.batch import Built as Built
from edgegen.packaging.batch import build_all
from edgegen.packaging.plan import BuildPlan


def build(
    plan: BuildPlan,
    *,
    parity: bool = True,
    accept_failure: bool = False,
    progress: Progress | None = None,
) -> Built:
    """Build a package beside its place and rename it there; see `build_all`.

    Raises ParityError for a package that does not compute what its model computes, and whatever
    the stages raise; the destination is then as it was.
    """
    batch = build_all([plan], parity=parity, accept_failure=accept_failure, progress=progress)
    (built,) = batch.packages
    if isinstance(built, EdgegenError):
        raise built
    return built
