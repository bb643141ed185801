"""Makes jobs of tasks, with what another machine needs for them: folders by their content."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgegen.builtin.models import BUILTIN_MODELS
from edgegen.choose.cache import Cache
from edgegen.choose.engines.farm import Assignment
from edgegen.choose.engines.messages import Job
from edgegen.choose.engines.parcels import Parcel, pack
from edgegen.choose.engines.ray_cluster import Cluster
from edgegen.choose.tasks import EvaluateTask, MeasureTask, ModelRef, ProbeTask, Task
from edgegen.choose.work import resolved
from edgegen.core.errors import ConfigError
from edgegen.core.progress import SilentProgress
from edgegen.models.hub_files import choose_files
from edgegen.models.layouts import layout_of


class NodeJobs:
    """Makes jobs; folders that they need are hashed and offered once."""

    def __init__(self, cluster: Cluster, cache: Cache) -> None:
        self._cluster = cluster
        self._cache = cache
        self._packages: dict[str, Parcel] = {}
        self._models: dict[ModelRef, Parcel | None] = {}

    def job(self, assignment: Assignment, *, shares_cache: bool, root: str | None) -> Job:
        """Return the job of an assignment. Raises SourceError for a model that isn't here."""
        first = assignment.tasks[0]
        _refuse_originals(assignment.tasks)
        package_place, package = None, None
        if isinstance(first, EvaluateTask | MeasureTask):
            if shares_cache:
                package_place = Path(first.package).relative_to(self._cache.folder).as_posix()
            else:
                package = self._package(first.package)
        return Job(
            tasks=assignment.tasks,
            fresh=self._cache.fresh,
            shares_cache=shares_cache,
            address=None if assignment.device is None else assignment.device.address,
            root=root,
            package_place=package_place,
            package=package,
            model=None if isinstance(first, MeasureTask) else self._model(first.model),
        )

    def _package(self, folder: str) -> Parcel:
        if folder not in self._packages:
            self._packages[folder] = pack(Path(folder))
            self._cluster.offer(self._packages[folder])
        return self._packages[folder]

    def _model(self, model: ModelRef) -> Parcel | None:
        """Return the files of a model; None for one that ships with edgegen."""
        if model.source in BUILTIN_MODELS:
            return None
        if model not in self._models:
            folder = resolved(model, SilentProgress()).path
            _refuse_layout(model, folder)
            sizes = {
                path.relative_to(folder).as_posix(): path.stat().st_size
                for path in folder.rglob("*")
                if path.is_file()
            }
            names = choose_files(sizes, model.variant, repository=model.source)
            parcel = pack(folder, names)
            self._cluster.offer(parcel)
            self._models[model] = parcel
        return self._models[model]


def _refuse_originals(tasks: Sequence[Task]) -> None:
    """Raise ConfigError for a model that is held against another: one folder is sent with a task.

    An original that ships with edgegen is there already.
    """
    for task in tasks:
        against = task.against if isinstance(task, EvaluateTask | ProbeTask) else None
        if against is not None and against.source not in BUILTIN_MODELS:
            raise ConfigError(
                f"A pruned model is held against {against.source}, and only one model is sent to "
                "another machine with a task.",
                hint="Choose on this machine, without --engine ray.",
            )


def _refuse_layout(model: ModelRef, folder: Path) -> None:
    """Raise ConfigError for a model whose weights lie elsewhere: only whole folders are sent."""
    layout = layout_of(folder)
    if layout is not None:
        raise ConfigError(
            f"{model.source} is no diffusers folder as it stands, and only such are sent to other "
            "machines.",
            hint="Choose on this machine, without --engine ray, or give a diffusers folder.",
        )
