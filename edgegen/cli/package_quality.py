"""The gate of quality of `edgegen package`: what draws too far from its model isn't kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgegen.cli.console import Console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegen.core.evaluation import Evaluation
    from edgegen.core.figures import Limit
    from edgegen.core.progress import Progress
    from edgegen.models.model_folder import ModelFolder
    from edgegen.packaging.plan import BuildPlan


class QualityGate:
    """Evaluates each package before it is put in its place, and keeps what was found."""

    def __init__(self, model: ModelFolder, limits: tuple[Limit, ...], progress: Progress) -> None:
        self._model = model
        self._limits = limits
        self._progress = progress
        self._found: dict[str, Evaluation] = {}
        self._notes: list[str] = []

    def check_before(self, plans: Sequence[BuildPlan]) -> None:
        """Refuse, before anything is built, limits that the packages cannot be held to.

        Raises ConfigError, and MissingDependencyError for a metric whose library isn't installed.
        """
        from edgegen.core.figures import check_limits
        from edgegen.evaluate.findable import require_findable
        from edgegen.evaluate.settings import quality_names

        check_limits(self._limits)
        names = {it.candidate.spec.source: quality_names(it.candidate.spec) for it in plans}
        require_findable(self._limits, names)

    def accept(self, package: Path, name: str) -> None:
        """Draw what the model knows, and compare it with the limits and those of the recipe.

        Raises ParityError where one is broken, and what `evaluate_package` raises.
        """
        from edgegen.core.manifest import load_manifest
        from edgegen.evaluate.gate import (
            gate,
            recipe_limits,
            require_quality,
            with_defaults,
            without_limits,
        )
        from edgegen.evaluate.run import evaluate_package
        from edgegen.evaluate.settings import EvaluateSettings
        from edgegen.evaluate.suite import KNOWN

        evaluation = evaluate_package(
            package,
            model=self._model,
            settings=EvaluateSettings(suites=(KNOWN,)),
            progress=self._progress,
        )
        recipe = load_manifest(package).recipe
        limits = with_defaults(self._limits, recipe_limits(recipe, evaluation))
        self._found[name] = evaluation
        note = without_limits(recipe, evaluation, limits)
        if note is not None:
            self._notes.append(f"{name}: {note}")
        require_quality(evaluation, gate(evaluation, limits), name)

    def of(self, name: str) -> Evaluation | None:
        """Return what was found of a package by its name in the plan."""
        return self._found.get(name)

    def show(self, console: Console) -> None:
        """Print a row for each package that was evaluated, those that were refused too."""
        from edgegen.cli.evaluation_tables import show_evaluations

        for warning in dict.fromkeys(it for each in self._found.values() for it in each.warnings):
            console.note(warning)
        for note in self._notes:
            console.note(note)
        if self._found:
            show_evaluations(console, list(self._found), list(self._found.values()))
