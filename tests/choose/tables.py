"""Tables of candidates with everything known, for tests that replay a search over them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.choose_replay import run_through
from edgegen.choose.problem import Candidate, FloatModel, Problem
from edgegen.choose.search import Action, ActionKind, Outcome, Search
from edgegen.core.choice import Way
from edgegen.core.figures import Figure, Limit, exact

DEVICE = frozenset({"latency", "memory"})


def around(value: float, share: float) -> Figure:
    """Return a prediction that may be off by a share."""
    return Figure(
        value=value, low=value * (1 - share), high=value * (1 + share), origin="predicted"
    )


@dataclass(kw_only=True)
class Table:
    """Candidates, and what trying each of them gives: `figures` by the candidate's place."""

    candidates: list[Candidate] = field(default_factory=list)
    figures: list[Mapping[str, Figure]] = field(default_factory=list)
    steps: list[Figure] = field(default_factory=list)
    float_models: dict[FloatModel, Mapping[str, Figure]] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)

    def add(
        self,
        way: Way,
        *,
        package: str,
        figures: Mapping[str, float],
        slack: float = 0.01,
        step_s: float = 0.01,
    ) -> None:
        """Add a candidate with exact figures; its size is predicted within `slack`."""
        off = 1 + random.Random(package).uniform(-slack, slack)
        known = {"size": around(figures["size"] * off, slack)}
        self.candidates.append(Candidate(way=way, package=package, known=known))
        self.figures.append({name: exact(value) for name, value in figures.items()})
        self.steps.append(exact(step_s))

    def do(self, action: Action) -> Outcome:
        """Return what an action gives."""
        if action.kind == "probe":
            assert action.model is not None
            return Outcome(figures=self.float_models[action.model])
        if action.kind == "build":
            if action.package in self.failing:
                return Outcome(failed=self.failing[action.package])
            place = next(i for i, it in enumerate(self.candidates) if it.package == action.package)
            return Outcome(figures={"size": self.figures[place]["size"]})
        names = DEVICE if action.kind == "measure" else {"right", "psnr", "ssim"}
        figures = {k: v for k, v in self.figures[action.place].items() if k in names}
        return Outcome(figures=figures, step_s=self.steps[action.place])

    def search(self, *limits: Limit, exhaustive: bool = False, **more: object) -> Search:
        """Return a search over the table that is at its beginning."""
        return Search(
            Problem(
                candidates=tuple(self.candidates),
                limits=limits,
                measured=DEVICE,
                exhaustive=exhaustive,
                **more,  # type: ignore[arg-type]  # fields of Problem
            )
        )

    def run(self, search: Search) -> list[Action]:
        """Run a search to its end, and return what was done."""
        done: list[Action] = []
        run_through(search, self.do, done.append)
        return done


def counted(actions: Sequence[Action]) -> dict[ActionKind, int]:
    """Return how often each kind was done; a look and the measurement after it count twice."""
    counts: dict[ActionKind, int] = {"probe": 0, "build": 0, "evaluate": 0, "measure": 0}
    for action in actions:
        counts[action.kind] += 1
    return counts


def random_table(seed: int, *, models: int = 2, packages: int = 5) -> Table:
    """Return a table whose figures hang together as they do in life, by a seed."""
    dice = random.Random(seed)
    table = Table()
    for m in range(models):
        for steps in (2, 4, 8):
            float_right = min(1.0, dice.uniform(0.4, 1.0))
            model = FloatModel(model=f"model-{m}", steps=steps, width=64, height=64)
            table.float_models[model] = {
                "right": exact(float_right),
                "psnr": exact(dice.uniform(12, 40)),
                "ssim": exact(dice.uniform(0.5, 0.99)),
            }
    for m in range(models):
        for p in range(packages):
            size = dice.uniform(5e6, 60e6)
            per_step = dice.uniform(0.01, 0.1)
            fixed = dice.uniform(0.01, 0.1)
            memory = size * 2 + dice.uniform(5e7, 3e8)
            loss = dice.uniform(0, 0.3)
            for steps in (2, 4, 8):
                reach = table.float_models[
                    FloatModel(model=f"model-{m}", steps=steps, width=64, height=64)
                ]
                way = Way(
                    model=f"model-{m}",
                    target="onnx",
                    recipe=f"recipe-{p}",
                    steps=steps,
                    width=64,
                    height=64,
                )
                figures = {
                    "size": size,
                    "latency": fixed + per_step * steps * dice.uniform(0.98, 1.02),
                    "memory": memory * dice.uniform(0.995, 1.005),
                    "right": max(0.0, (reach["right"].value or 0) - loss),
                    "psnr": (reach["psnr"].value or 0) * (1 - loss),
                    "ssim": (reach["ssim"].value or 0) * (1 - loss),
                }
                table.add(way, package=f"{m}-{p}", figures=figures, step_s=per_step)
    for name in dict.fromkeys(candidate.package for candidate in table.candidates):
        if dice.random() < 0.05:
            table.failing[name] = "its decoder cannot be converted"
    return table


def random_limits(seed: int, table: Table) -> tuple[Limit, ...]:
    """Return limits on some figures, each at a quantile of what the table has."""
    dice = random.Random(seed)
    names = ["size", "latency", "memory", "right", "psnr"]
    limits = []
    for name in dice.sample(names, dice.randint(1, 4)):
        values = sorted(row[name].value or 0.0 for row in table.figures)
        value = values[dice.randrange(len(values))]
        limits.append(Limit(figure=name, value=max(value, 1e-6)))
    return tuple(limits)
