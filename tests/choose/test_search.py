"""The search names the winner that trying everything names, and does less."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegen.choose.problem import FloatModel, float_model_of
from edgegen.choose.search import Search
from edgegen.choose.standings import rows_of
from edgegen.core.choice import Way
from edgegen.core.figures import Figure, Limit, exact
from tests.choose.tables import Table, counted, random_limits, random_table


def names_of_winners(search: Search) -> set[str]:
    return {row.way.name for row in rows_of(search) if row.standing == "winner"}


def small_table(**figures: dict[str, float]) -> Table:
    """Return a table with a package for each name, at 4 steps."""
    table = Table()
    table.float_models[FloatModel(model="m", steps=4, width=64, height=64)] = {}
    for name, values in figures.items():
        way = Way(model="m", target="onnx", recipe=name, steps=4, width=64, height=64)
        defaults = {"size": 1e6, "latency": 1.0, "memory": 1e8, "right": 1.0, "psnr": 40.0}
        table.add(way, package=name, figures=defaults | values)
    return table


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_winner_is_that_of_trying_everything(seed: int) -> None:
    table = random_table(seed)
    limits = random_limits(seed, table)
    everything = table.search(*limits, exhaustive=True)
    table.run(everything)
    search = table.search(*limits)
    done = table.run(search)
    assert names_of_winners(search) == names_of_winners(everything)
    assert len(done) == len(set(done)), "something was done twice"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), room=st.integers(2, 5))
def test_several_things_at_once_find_the_same_winner(seed: int, room: int) -> None:
    table = random_table(seed)
    limits = random_limits(seed, table)
    one = table.search(*limits)
    table.run(one)
    several = table.search(*limits)
    for _ in range(10_000):
        actions = several.next_actions(room)
        if not actions:
            break
        assert len(set(actions)) == len(actions)
        for action in actions:
            several.start(action)
        assert not set(several.next_actions(room)) & set(actions), "it is being done already"
        for action in reversed(actions):
            several.learn(action, table.do(action))
    assert several.done
    assert names_of_winners(several) == names_of_winners(one)


def test_the_smallest_is_built_first_and_the_rest_not_at_all() -> None:
    table = small_table(a={"size": 3e6}, b={"size": 1e6}, c={"size": 2e6})
    search = table.search(Limit(figure="size", value=5e6))
    done = table.run(search)
    assert [action.package for action in done] == ["b"]
    standings = {row.way.recipe: row.standing for row in rows_of(search)}
    assert standings == {"a": "not needed", "b": "winner", "c": "not needed"}


def test_the_device_measures_only_what_passes_everything_else() -> None:
    table = small_table(
        bad={"size": 1e6, "right": 0.2}, slow={"size": 2e6, "latency": 3.0}, good={"size": 3e6}
    )
    search = table.search(Limit(figure="right", value=0.9), Limit(figure="latency", value=1.5))
    done = table.run(search)
    measured = [table.candidates[it.place].way.recipe for it in done if it.kind == "measure"]
    assert "bad" not in measured
    rows = {row.way.recipe: row for row in rows_of(search)}
    assert rows["good"].standing == "winner"
    assert [limit.figure for limit in rows["bad"].broken] == ["right"]
    assert [limit.figure for limit in rows["slow"].broken] == ["latency"]


def test_a_prediction_beyond_doubt_costs_nothing() -> None:
    table = small_table(a={"size": 1e6}, b={"size": 2e6})
    search = table.search(Limit(figure="size", value=5e5))
    assert table.run(search) == []
    assert all(row.standing == "breaks" for row in rows_of(search))
    assert not search.winners()


def test_a_limit_within_the_bounds_of_a_prediction_is_measured() -> None:
    table = small_table(a={"size": 1e6})
    search = table.search(Limit(figure="size", value=1.001e6))
    assert counted(table.run(search))["build"] == 1
    assert names_of_winners(search)


def test_an_upper_bound_decides_and_not_the_value() -> None:
    table = small_table(a={"size": 1e6})
    limit = Limit(figure="latency", value=1.05)
    table.figures[0] = {
        **table.figures[0],
        "latency": Figure(value=1.0, low=0.9, high=1.1, origin="measured"),
    }
    search = table.search(limit)
    done = table.run(search)
    assert [action.effort for action in done if action.kind == "measure"] == [
        "look",
        "whole",
        "more",
    ]
    (row,) = rows_of(search)
    assert row.standing == "breaks"


def test_a_candidate_that_fails_is_a_row_with_its_reason() -> None:
    table = small_table(a={"size": 1e6}, b={"size": 2e6})
    table.failing["a"] = "its decoder cannot be converted"
    search = table.search(Limit(figure="size", value=5e6))
    table.run(search)
    rows = {row.way.recipe: row for row in rows_of(search)}
    assert rows["a"].standing == "failed"
    assert rows["a"].why == "its decoder cannot be converted"
    assert rows["b"].standing == "winner"


def test_a_figure_that_nobody_can_tell_never_passes_and_costs_nothing() -> None:
    table = small_table(a={"size": 1e6})
    search = table.search(Limit(figure="energy", value=8.0))
    assert table.run(search) == []
    (row,) = rows_of(search)
    assert row.standing == "unknown"
    assert row.why


def test_what_was_measured_elsewhere_counts() -> None:
    table = small_table(a={"size": 1e6})
    (candidate,) = table.candidates
    elsewhere = exact(7.0, "measured elsewhere")
    table.candidates = [
        dataclasses.replace(candidate, known={**candidate.known, "energy": elsewhere})
    ]
    search = table.search(Limit(figure="energy", value=8.0))
    table.run(search)
    assert names_of_winners(search)


def test_a_prediction_passes_only_where_nothing_here_can_measure() -> None:
    table = small_table(a={"size": 1e6})
    (candidate,) = table.candidates
    memory = Figure(value=1e8, low=0.9e8, high=1.1e8, origin="predicted")
    table.candidates = [dataclasses.replace(candidate, known={**candidate.known, "memory": memory})]
    limit = Limit(figure="memory", value=1.2e8)
    here = table.search(limit)
    assert counted(table.run(here))["measure"] == 1
    absent = Search(dataclasses.replace(here.problem, measured=frozenset()))
    assert counted(table.run(absent)) == {"probe": 0, "build": 1, "evaluate": 0, "measure": 0}
    assert names_of_winners(absent)
    tight = dataclasses.replace(
        here.problem, measured=frozenset(), limits=(Limit(figure="memory", value=1.05e8),)
    )
    search = Search(tight)
    table.run(search)
    assert not search.winners(), "its upper bound breaks the limit"


def test_steps_of_a_package_that_are_surely_too_slow_are_not_measured() -> None:
    table = Table()
    for steps in (4, 8, 20):
        model = FloatModel(model="m", steps=steps, width=64, height=64)
        table.float_models[model] = {}
        way = Way(model="m", target="onnx", recipe="fp32", steps=steps, width=64, height=64)
        figures = {"size": 1e6, "latency": 0.1 + 0.1 * steps, "memory": 1e8, "right": 0.9}
        table.add(way, package="fp32", figures=figures, step_s=0.1)
    search = table.search(Limit(figure="latency", value=0.3), Limit(figure="right", value=0.8))
    done = table.run(search)
    assert counted(done)["build"] == 1
    assert {action.place for action in done if action.kind == "measure"} == {0}


def test_a_latency_bounds_that_of_other_steps_and_not_of_another_guidance() -> None:
    table = Table()
    for steps, stop in ((12, 1.0), (24, 1.0), (24, 0.5)):
        way = Way(
            model="m",
            target="onnx",
            recipe="a",
            steps=steps,
            width=64,
            height=64,
            guidance_stop=stop,
        )
        latency = steps * (1 + stop) / 10
        table.float_models[float_model_of(way)] = {}
        figures = {"size": 1e6, "latency": latency, "memory": 1e8, "right": 1.0, "psnr": 40.0}
        table.add(way, package="a", figures=figures)
    search = table.search(Limit(figure="latency", value=4.0))
    table.run(search)
    standings = {(row.way.steps, row.way.guidance_stop): row for row in rows_of(search)}
    assert standings[24, 1.0].standing == "breaks"
    assert standings[24, 0.5].standing == "winner"


def test_a_latency_bounds_that_of_other_steps_and_not_of_another_interval() -> None:
    table = Table()
    for steps, interval in ((12, 1), (24, 1), (24, 3)):
        way = Way(
            model="m",
            target="onnx",
            recipe="a",
            steps=steps,
            width=64,
            height=64,
            cache_interval=interval,
        )
        latency = steps * (1 + 2 / interval) / 10
        table.float_models[float_model_of(way)] = {}
        figures = {"size": 1e6, "latency": latency, "memory": 1e8, "right": 1.0, "psnr": 40.0}
        table.add(way, package="a" if interval == 1 else "a cached", figures=figures)
    search = table.search(Limit(figure="latency", value=4.2))
    table.run(search)
    standings = {(row.way.steps, row.way.cache_interval): row for row in rows_of(search)}
    assert standings[24, 1].standing == "breaks"
    assert standings[24, 3].standing == "winner"
    assert "all layers in one of 3" in standings[24, 3].way.name


def test_the_fewest_steps_win_where_quality_is_guarded_and_else_the_most() -> None:
    table = Table()
    for steps in (4, 8):
        table.float_models[FloatModel(model="m", steps=steps, width=64, height=64)] = {}
        way = Way(model="m", target="onnx", recipe="fp32", steps=steps, width=64, height=64)
        table.add(
            way,
            package="fp32",
            figures={"size": 1e6, "latency": steps / 10, "memory": 1e8, "right": 0.9},
        )
    guarded = table.search(Limit(figure="right", value=0.8))
    table.run(guarded)
    assert "4 steps" in names_of_winners(guarded).pop()
    free = table.search(Limit(figure="latency", value=2.0))
    table.run(free)
    assert "8 steps" in names_of_winners(free).pop()


@pytest.mark.parametrize(
    ("limits", "prefer", "expected"),
    [
        ((Limit(figure="size", value=9e6),), (), {"a", "b"}),
        ((Limit(figure="psnr", value=20.0),), (), {"a", "b"}),
        ((Limit(figure="right", value=0.5),), (), {"a"}),
        ((Limit(figure="size", value=9e6),), ("b", "a"), {"b"}),
    ],
    ids=["one a model", "paired figures compare no models", "right compares", "by preference"],
)
def test_models_compete_only_where_they_can_be_compared(
    limits: tuple[Limit, ...], prefer: tuple[str, ...], expected: set[str]
) -> None:
    table = Table()
    for model, size in (("a", 1e6), ("b", 2e6)):
        table.float_models[FloatModel(model=model, steps=4, width=64, height=64)] = {}
        way = Way(model=model, target="onnx", recipe="fp32", steps=4, width=64, height=64)
        figures = {"size": size, "latency": 1.0, "memory": 1e8, "right": 0.9, "psnr": 30.0}
        table.add(way, package=model, figures=figures)
    search = table.search(*limits, prefer=prefer)
    table.run(search)
    winners = {row.way.model for row in rows_of(search) if row.standing == "winner"}
    assert winners == expected


@pytest.mark.parametrize(
    ("limits", "prefer", "expected"),
    [
        ((Limit(figure="psnr", value=20.0),), (), {"a-0.5", "b"}),
        ((Limit(figure="psnr", value=35.0),), (), {"a", "b"}),
        ((Limit(figure="psnr", value=20.0),), ("a", "b"), {"a-0.5"}),
        ((Limit(figure="psnr", value=20.0),), ("b",), {"b"}),
        ((Limit(figure="psnr", value=20.0),), ("a", "a-0.5"), {"a"}),
    ],
    ids=["with its original", "by pictures", "ranks as that", "behind another", "named itself"],
)
def test_a_pruned_model_competes_with_its_original_and_as_that(
    limits: tuple[Limit, ...], prefer: tuple[str, ...], expected: set[str]
) -> None:
    table = Table()
    for model, size, psnr in (("a", 2e6, 40.0), ("a-0.5", 1e6, 30.0), ("b", 3e6, 40.0)):
        table.float_models[FloatModel(model=model, steps=4, width=64, height=64)] = {}
        way = Way(model=model, target="onnx", recipe="fp32", steps=4, width=64, height=64)
        figures = {"size": size, "latency": 1.0, "memory": 1e8, "right": 0.9, "psnr": psnr}
        table.add(way, package=model, figures=figures)
    search = table.search(*limits, prefer=prefer, originals={"a-0.5": "a"})
    table.run(search)
    winners = {row.way.model for row in rows_of(search) if row.standing == "winner"}
    assert winners == expected


def test_a_bound_of_quality_holds_the_value_that_is_shown() -> None:
    table = small_table(a={"size": 1e6})
    (model,) = table.float_models
    table.float_models[model] = {"right": Figure(value=0.8, low=0.55, high=0.95, origin="measured")}
    search = table.search(Limit(figure="right", value=0.9))
    done = table.run(search)
    assert counted(done)["build"] == 0
    figure = search.figures(0)["right"]
    assert figure.origin == "predicted"
    assert figure.high == pytest.approx(0.65), "a limit is held against the lower end"
    assert figure.value is not None
    assert figure.value <= figure.high
