"""A choice proposes mixes where recipes lie beyond a limit, and nothing smaller draws well."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.choose import mixes
from edgegen.choose.space import Wanted, make_space
from edgegen.compress.codecs import CODECS
from edgegen.core.errors import ConfigError
from edgegen.core.figures import Limit
from edgegen.core.package import StageCost
from edgegen.core.progress import SilentProgress
from edgegen.core.sensitivity import LayerSensitivity, Sensitivity
from edgegen.core.targets import load_target
from edgegen.models.source import resolve
from edgegen.packaging.mixed import parse_mixed, size_named
from edgegen.packaging.model_facts import ModelFacts
from tests.choose import played
from tests.choose.played import Played, go, new_run

ROOM = Limit(figure="size", value=20e6)
"""Between the built-in model in 8 bits and in 16."""
RIGHT = Limit(figure="right", value=0.9)


class OnlyMixes:
    """Of played packages, mixes draw as well as the model itself, and nothing else does."""

    def get(self, recipe: str, _default: float) -> float:
        return 0.95 if recipe in ("", "torch") or recipe.startswith("mixed-") else 0.5


def table_of(facts: ModelFacts, _progress: object) -> Sensitivity:
    return Sensitivity(
        model=facts.spec.source,
        weights_sha256="0" * 64,
        cases=(),
        bits={name: codec.bits for name, codec in CODECS.items()},
        components={
            component: {
                weight.layer: LayerSensitivity(
                    shapes=(weight.shape,),
                    losses={name: 4.0**-codec.bits for name, codec in CODECS.items()},
                )
                for weight in weights
                if len(weight.shape) > 1
            }
            for component, weights in facts.weights.items()
        },
        cost=StageCost(stage="sensitivity", wall_s=1.0, cpu_s=1.0, peak_memory_bytes=None),
    )


@pytest.fixture(autouse=True)
def _played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(mixes, "sensitivity_of", table_of)
    monkeypatch.setattr(played, "RIGHT", OnlyMixes())
    monkeypatch.setattr(played, "SIX", ())  # no recipe is named


def test_a_mix_of_the_limits_size_wins_where_nothing_uniform_fits(tmp_path: Path) -> None:
    with Played(tmp_path / "log").standing_in():
        choice = go(new_run(tmp_path / "out", limits=(ROOM, RIGHT)))
    (winner,) = choice.winners
    assert winner.way.recipe == "mixed-20MB"
    size = winner.figures["size"].value
    assert size is not None
    assert size <= ROOM.value


@pytest.mark.parametrize(
    ("limits", "recipes"),
    [
        pytest.param((RIGHT,), (), id="no limit on the size"),
        pytest.param((ROOM,), (), id="no limit on the pictures"),
        pytest.param((ROOM, RIGHT), ("fp16-storage",), id="recipes that were named"),
        pytest.param((Limit(figure="size", value=1e9), RIGHT), (), id="everything fits"),
        pytest.param((Limit(figure="size", value=1e5), RIGHT), (), id="nothing is so small"),
    ],
)
def test_there_is_no_mix_with(
    limits: tuple[Limit, ...], recipes: tuple[str, ...], tmp_path: Path
) -> None:
    run = new_run(tmp_path / "out", limits=limits, recipes=recipes)
    names = {candidate.way.recipe for candidate in run.search.problem.candidates}
    assert not {name for name in names if name.startswith("mixed-")}


def test_a_mix_with_features_kept_has_room_for_its_shallow_graph() -> None:
    model = resolve("builtin:scenes")
    wanted = Wanted(
        targets=("coreml",), recipes=("mixed-20MB",), steps=(12,), cache_intervals=(1, 3)
    )
    space = make_space([model], wanted, profile=None, targets=())
    mixes.add_mixes(space, [model], wanted, (), profile=None, targets=(), progress=SilentProgress())
    made = {it.way.cache_interval: it for it in space.candidates}
    assert made.keys() == {1, 3}
    for candidate in made.values():
        assert not candidate.refused
        size = candidate.known["size"].value
        assert size is not None
        assert 0.95 * ROOM.value < size <= ROOM.value
    assigned = {it: space.built_as[made[it].package].recipe.assigned for it in made}
    assert "unet_shallow" in assigned[3]
    assert "unet_shallow" not in assigned[1]


def test_mixes_that_are_named_are_candidates_of_each_target(tmp_path: Path) -> None:
    run = new_run(tmp_path / "out", limits=(RIGHT,), recipes=("mixed-20MB", "int8"))
    recipes: dict[str, set[str]] = {}
    for candidate in run.search.problem.candidates:
        recipes.setdefault(candidate.way.target, set()).add(candidate.way.recipe)
    assert recipes
    for target, found in recipes.items():
        assert found == {"mixed-20MB", "int8"} & {"mixed-20MB", *load_target(target).recipes}


def test_a_named_mix_that_there_is_not_is_refused_with_the_smallest(tmp_path: Path) -> None:
    run = new_run(tmp_path / "out", limits=(RIGHT,), recipes=("mixed-100kB",))
    refused = [it.refused for it in run.search.problem.candidates]
    assert refused
    assert all("The smallest is mixed-" in why for why in refused)


def test_a_name_that_is_nearly_a_mix_is_refused_with_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        new_run(tmp_path / "out", limits=(RIGHT,), recipes=("mixed-20Mb",))
    assert "mixed-300MB" in caught.value.hint


@pytest.mark.parametrize(
    ("size_bytes", "name"),
    [
        (20_000_000, "mixed-20MB"),
        (20_500_000, "mixed-20500kB"),
        (20_000_999, "mixed-20000kB"),
        (2_000_000_000, "mixed-2GB"),
    ],
)
def test_a_size_has_a_name_that_is_read_again(size_bytes: int, name: str) -> None:
    size = size_named(size_bytes)
    assert size.name == name
    assert parse_mixed(name) == size
    assert size.package_bytes is not None
    assert size.package_bytes <= size_bytes
