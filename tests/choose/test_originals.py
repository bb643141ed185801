"""A pruned model among those given is held against its original, and competes with it."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgegen.choose.advice import advice_for
from edgegen.choose.cache import Cache
from edgegen.choose.engines.farm import Assignment, Node
from edgegen.choose.engines.jobs_for_nodes import NodeJobs
from edgegen.choose.jobs import DeviceRef
from edgegen.choose.prepare import Asked, Place
from edgegen.choose.run import Run
from edgegen.choose.space import Wanted
from edgegen.choose.tasks import ModelRef, ProbeTask
from edgegen.core.choice import Advice
from edgegen.core.codec import dump_json, load_json
from edgegen.core.errors import ConfigError, SourceError
from edgegen.core.evaluation import Evaluation
from edgegen.core.figures import Limit
from edgegen.core.progress import SilentProgress
from edgegen.models.origin import ORIGIN_NAME, Origin, Recovery
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.packaging.candidate import predict
from edgegen.packaging.source_hash import weights_sha256
from tests.choose.played import Played, go, run_of
from tests.exporters.harness import TinyPipeline
from tests.pruning.models import pruned

FIVE_MB = (Limit(figure="size", value=5e6), Limit(figure="psnr", value=20.0))


class Watched(Played):
    """Notes what each model's and package's pictures are held against."""

    def __init__(self, log: Path) -> None:
        super().__init__(log)
        self.held: set[tuple[str, str | None]] = set()

    def judge(self, package: Path, **more: Any) -> Evaluation:
        """Judge a package of a model."""
        self._note(more["model"], more["against"])
        return super().judge(package, **more)

    def judge_model(self, model: Any, *, settings: Any, **more: Any) -> Evaluation:
        """Judge a model itself."""
        self._note(model, more["against"])
        return super().judge_model(model, settings=settings, **more)

    def _note(self, model: Any, against: Any) -> None:
        self.held.add((model.path.name, None if against is None else against.path.name))


@pytest.fixture
def models(
    tiny_pipeline: TinyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Path]:
    """Return a model under another name than it had when it was pruned, a pruned one, another."""
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "state"))
    whole = tiny_pipeline("sd15")
    shutil.copytree(whole, tmp_path / "moved")
    shutil.copytree(tiny_pipeline("sd15", seed=1), tmp_path / "other")
    small = pruned(whole, tmp_path / "small", 0.6)
    spec = read_pipeline(resolve(str(whole)))
    say(small, weights_sha256=weights_sha256(whole, spec.components, SilentProgress()))
    return {name: tmp_path / name for name in ("moved", "other", "small")}


def say(folder: Path, **changes: Any) -> None:
    """Change what a pruned model says of its origin."""
    origin = load_json(Origin, folder / ORIGIN_NAME)
    fields = {name: getattr(origin, name) for name in Origin.__dataclass_fields__}
    (folder / ORIGIN_NAME).write_text(dump_json(Origin(**{**fields, **changes})))


def new_run(tmp_path: Path, *folders: Path, limits: tuple[Limit, ...]) -> Run:
    """Return a choice among two packages of each of some models."""
    place = Place(
        device=DeviceRef(address="local", root=None, identity={"host_name": "played"}),
        title="a played device",
        profile=None,
        targets=("onnx",),
        lacking={},
        has_energy=False,
    )
    asked = Asked(
        models=tuple(resolve(str(folder)) for folder in folders),
        wanted=Wanted(steps=(4,), targets=("onnx:fp32", "onnx:fp16-storage")),
        limits=limits,
    )
    return run_of(asked, place, Cache(), tmp_path / "out")


def test_a_pruned_model_is_held_against_its_original_wherever_that_lies_now(
    models: dict[str, Path], tmp_path: Path
) -> None:
    played = Watched(tmp_path / "log")
    with played.standing_in():
        run = new_run(tmp_path, *models.values(), limits=(Limit(figure="psnr", value=20.0),))
        choice = go(run)
    winners = {Path(row.way.model).name for row in choice.winners}
    assert winners == {"small", "other"}, "one of a model and what was pruned from it"
    assert played.held == {("small", "moved"), ("other", None)}


def test_what_a_pruned_model_is_held_against_is_in_the_key_of_its_judgement(
    models: dict[str, Path], tmp_path: Path
) -> None:
    keys = set()
    for _ in range(2):
        played = Watched(tmp_path / "log")
        with played.standing_in():
            limits = (Limit(figure="psnr", value=20.0),)
            run = new_run(tmp_path, models["moved"], models["small"], limits=limits)
            go(run)
        keys |= {row.evaluation for row in run.choice().winners}
        index = models["moved"] / "model_index.json"
        index.write_text(index.read_text() + "\n")
    assert len(keys) == 2
    assert played.held == {("small", "moved")}, "it was judged anew"


def test_without_its_original_a_pruned_model_is_refused(
    models: dict[str, Path], tmp_path: Path
) -> None:
    for folders in ([models["small"]], [models["other"], models["small"]]):
        with pytest.raises(SourceError, match="nothing to hold its pictures against") as caught:
            new_run(tmp_path, *folders, limits=FIVE_MB)
        assert "Name the original, too: edgegen choose " in caught.value.hint


def test_a_machine_that_would_lack_the_original_is_not_asked(tmp_path: Path) -> None:
    task = ProbeTask(
        key="k",
        model=ModelRef(source="./small"),
        steps=4,
        width=64,
        height=64,
        guidance_stop=1.0,
        cache_interval=1,
        pictures=None,
        against=ModelRef(source="./whole"),
    )
    assignment = Assignment(node=Node(id="n", host="n", slots=1), tasks=(task,), slots=1)
    jobs = NodeJobs(SimpleNamespace(), Cache(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"held against \./whole"):
        jobs.job(assignment, shares_cache=True, root=None)


def advised(run: Run) -> list[Advice]:
    return list(advice_for(run.search, run.jobs.space))


def test_a_share_is_advised_with_which_a_package_would_fit(
    models: dict[str, Path], tmp_path: Path
) -> None:
    with Played(tmp_path / "log").standing_in():
        whole = new_run(tmp_path, models["moved"], limits=FIVE_MB)
        facts = whole.jobs.space.facts[str(models["moved"])]
        sizes = [predict(it, facts) for it in whole.jobs.space.built_as.values()]
        smallest = min(sizes, key=lambda it: it.package_bytes)
        limit = smallest.package_bytes - 0.3 * smallest.component_bytes["unet"]
        limits = (Limit(figure="size", value=limit), Limit(figure="psnr", value=20.0))
        run = new_run(tmp_path, models["moved"], limits=limits)
        go(run)
        (found,) = [it for it in advised(run) if "edgegen slim" in it.change]
        assert f"edgegen slim {models['moved']} --to 0.65 -o moved-0.65" in found.change
        size = found.predicted["size"]
        assert size.high is not None
        assert 0.98 * limit < size.high <= limit, "in the worst case, and hardly more than needed"

        beside = new_run(tmp_path, models["moved"], models["small"], limits=limits)
        assert beside.search.problem.originals == {str(models["small"]): str(models["moved"])}
        kept = [it for it in advised(beside) if "edgegen slim" in it.change]
        assert not kept, "one that keeps 0.6 is among the models"

        far = (Limit(figure="size", value=limit / 4), Limit(figure="psnr", value=20.0))
        run = new_run(tmp_path, models["moved"], limits=far)
        assert not [it for it in advised(run) if "edgegen slim" in it.change]


def test_a_pruned_model_that_draws_too_badly_may_learn_for_longer_until_nothing_gets_better(
    models: dict[str, Path], tmp_path: Path
) -> None:
    learned = Recovery(
        seconds=60, steps=5, batch=1, prompts=1, device="cpu", loss_before=1, loss_after=0.5,
        is_over=False,
    )  # fmt: skip
    said = []
    for recovery in (None, learned, Recovery(**{**fields(learned), "is_over": True})):
        say(models["small"], recovery=recovery)
        with Played(tmp_path / "log").standing_in():
            limits = (Limit(figure="psnr", value=35.0),)
            run = new_run(tmp_path, models["moved"], models["small"], limits=limits)
            go(run)
            said.append([it.change for it in advised(run) if "--recover" in it.change])
    assert [len(it) for it in said] == [1, 1, 0]
    assert "let it learn from its original" in said[0][0]
    assert "let it learn for longer" in said[1][0]


def fields(value: Recovery) -> dict[str, Any]:
    return {name: getattr(value, name) for name in Recovery.__dataclass_fields__}
