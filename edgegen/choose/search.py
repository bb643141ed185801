"""What to do next to find the winner, and when it is found: values in, values out, no I/O.

The best candidate that may still win is taken first: its package is built, its pictures are
judged, and only then, if it still may win, the device measures it. A candidate that a figure or a
bound rules out costs nothing more; one that is worse than a candidate that passes is not tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from edgegen.choose.bounds import Knowledge, bounds_of
from edgegen.choose.problem import Effort, FloatModel, Key, Problem
from edgegen.core.figures import UNKNOWN, Figure, Limit

ActionKind = Literal["probe", "build", "evaluate", "measure"]


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do: for a package, a candidate by its place, or a float model.

    `effort` is how much is measured.
    """

    kind: ActionKind
    package: str = ""
    place: int = -1
    model: FloatModel | None = None
    effort: Effort = "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an action: figures, or why there are none.

    `step_s` is the time of one denoising step, with its bounds.
    """

    figures: Mapping[str, Figure] = field(default_factory=dict)
    step_s: Figure = UNKNOWN
    failed: str = ""


class Search:
    """The state of a search: which candidates may still win, and what is being done."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.knowledge = Knowledge()
        self._in_flight: set[Action] = set()
        self._limited = {limit.figure for limit in problem.limits}
        self._figures: dict[int, dict[str, Figure]] = {}  # until something is learnt
        self._bests: dict[str, tuple[Key, int] | None] = {}
        self._siblings: dict[str, list[int]] = {}
        for place, candidate in enumerate(problem.candidates):
            self._siblings.setdefault(candidate.package, []).append(place)

    @property
    def done(self) -> bool:
        """Return whether nothing is left to do, and nothing is being done."""
        return not self._in_flight and not self.next_actions(1)

    def next_actions(self, room: int = 1) -> tuple[Action, ...]:
        """Return up to `room` things to do now, the most useful first; none that is in flight."""
        found: list[Action] = []
        for place in self.order():
            if len(found) >= room:
                break
            action = self._action_for(place)
            if action is not None and action not in self._in_flight and action not in found:
                found.append(action)
        if not found and not self._in_flight and self.problem.finishes:
            found = list(self._finishing())[:room]
        return tuple(found)

    def start(self, action: Action) -> None:
        """Note that an action is being done."""
        self._in_flight.add(action)

    def drop(self, action: Action) -> None:
        """Note that an action was not done after all."""
        self._in_flight.discard(action)

    def learn(self, action: Action, outcome: Outcome) -> None:
        """Take what came of an action."""
        self._in_flight.discard(action)
        self._forget(action)
        knowledge = self.knowledge
        if action.kind == "probe":
            assert action.model is not None
            knowledge.float_models[action.model] = {} if outcome.failed else outcome.figures
        elif action.kind == "build":
            if outcome.failed:
                knowledge.failed_packages[action.package] = outcome.failed
            else:
                knowledge.sizes[action.package] = outcome.figures["size"]
        elif outcome.failed:
            knowledge.failed[action.place] = outcome.failed
        elif action.kind == "evaluate":
            knowledge.evaluated[action.place] = outcome.figures
        else:
            self._learn_measured(action, outcome)

    def _forget(self, action: Action) -> None:
        """Forget what was worked out of figures that an action may change."""
        self._bests.clear()
        for place in list(self._figures):
            candidate = self.problem.candidates[place]
            package = action.package or (
                "" if action.place < 0 else self.problem.candidates[action.place].package
            )
            if candidate.package == package or candidate.float_model == action.model:
                del self._figures[place]

    def _learn_measured(self, action: Action, outcome: Outcome) -> None:
        knowledge, place = self.knowledge, action.place
        knowledge.efforts[place] = action.effort
        knowledge.steps[place] = outcome.step_s
        if action.effort == "look" or (action.effort == "whole" and self._straddles(outcome)):
            knowledge.glimpsed[place] = {
                name: replace(figure, origin="predicted")
                for name, figure in outcome.figures.items()
            }
        else:
            knowledge.measured[place] = outcome.figures

    def _straddles(self, outcome: Outcome) -> bool:
        """Return whether the latency's limit lies within its interval."""
        limit, latency = self._limit("latency"), outcome.figures.get("latency", UNKNOWN)
        if limit is None or latency.value is None:
            return False
        return latency.passes(limit) is False and latency.could_pass(limit)

    def figures(self, place: int) -> dict[str, Figure]:
        """Return what is known of a candidate: measured, else bounded."""
        if place not in self._figures:
            self._figures[place] = bounds_of(
                place,
                self.problem,
                self.knowledge,
                self._siblings[self.problem.candidates[place].package],
            )
        return self._figures[place]

    def could_win(self, place: int) -> bool:
        """Return whether a candidate may still turn out to be the winner of its group."""
        candidate = self.problem.candidates[place]
        if self.why_failed(place) or not self._may_pass(place):
            return False
        best = self.best(self.problem.group(candidate))
        return best is None or self._lowest(place) < best[0] or best[1] == place

    def winners(self) -> tuple[int, ...]:
        """Return the best candidate that passes, of each group that has one."""
        groups = dict.fromkeys(map(self.problem.group, self.problem.candidates))
        return tuple(best[1] for group in groups if (best := self.best(group)) is not None)

    def places(self) -> tuple[int, ...]:
        """Return the places of the candidates in the order of their keys, the best first."""
        return tuple(sorted(range(len(self.problem.candidates)), key=self._sorting))

    def passes(self, place: int) -> bool:
        """Return whether a candidate is known to meet every limit."""
        if self.why_failed(place):
            return False
        figures = self.figures(place)
        return self._is_built(place) and all(
            self.is_settled(figures.get(limit.figure, UNKNOWN), limit)
            and figures[limit.figure].passes(limit)
            for limit in self.problem.limits
        )

    def _sorting(self, place: int) -> tuple[Key, str]:
        candidate = self.problem.candidates[place]
        size = self.figures(place).get("size", UNKNOWN)
        value = float("inf") if size.value is None else size.value
        return self.problem.key(candidate, value), candidate.way.name

    def order(self) -> list[int]:
        """Return the places of the candidates that may still win, the best first."""
        places = range(len(self.problem.candidates))
        if self.problem.exhaustive:
            alive = [place for place in places if not self.why_failed(place)]
        else:
            alive = [place for place in places if self.could_win(place)]
        return sorted(alive, key=lambda place: (self._lowest(place), place))

    def _action_for(self, place: int) -> Action | None:
        """Return what is to be done next for a candidate; None where nothing is."""
        problem, knowledge = self.problem, self.knowledge
        candidate = problem.candidates[place]
        if problem.probes and self._wants(problem.evaluated):
            probe = candidate.float_model
            if probe not in knowledge.float_models:
                return Action("probe", model=probe)
        if not self._is_built(place):
            return Action("build", package=candidate.package)
        if place not in knowledge.evaluated and self._wants(problem.evaluated):
            return Action("evaluate", place=place)
        if place not in knowledge.measured and self._wants(problem.measured):
            return Action("measure", place=place, effort=self._effort(place))
        return None

    def _finishing(self) -> Iterator[Action]:
        """Yield what completes the figures of winners that no limit asked for."""
        knowledge = self.knowledge
        for place in self.winners():
            if self.problem.evaluated and place not in knowledge.evaluated:
                yield Action("evaluate", place=place)
            elif self.problem.measured and place not in knowledge.measured:
                yield Action("measure", place=place)

    def _effort(self, place: int) -> Effort:
        done = self.knowledge.efforts.get(place)
        if done is None and not self.problem.exhaustive and self._is_worth_a_look(place):
            return "look"
        return "more" if done == "whole" else "whole"

    def _wants(self, figures: Iterable[str]) -> bool:
        """Return whether any of these figures is limited, or everything is to be known."""
        return bool(self._limited & set(figures)) or (
            self.problem.exhaustive and bool(set(figures))
        )

    def _is_worth_a_look(self, place: int) -> bool:
        """Return whether a quick measurement may rule a candidate out before a long one."""
        latency = self._limit("latency")
        if latency is None:
            return False
        return self.figures(place).get("latency", UNKNOWN).passes(latency) is not True

    def _limit(self, figure: str) -> Limit | None:
        return next((limit for limit in self.problem.limits if limit.figure == figure), None)

    def why_failed(self, place: int) -> str:
        """Return why a candidate cannot win whatever its figures; nothing where it may."""
        candidate, knowledge = self.problem.candidates[place], self.knowledge
        return (
            candidate.refused
            or knowledge.failed_packages.get(candidate.package, "")
            or knowledge.failed.get(place, "")
        )

    def _is_built(self, place: int) -> bool:
        return self.problem.candidates[place].package in self.knowledge.sizes

    def _may_pass(self, place: int) -> bool:
        figures = self.figures(place)
        for limit in self.problem.limits:
            figure = figures.get(limit.figure, UNKNOWN)
            if not figure.could_pass(limit):
                return False
            if self.is_settled(figure, limit) and figure.passes(limit) is not True:
                return False
            if figure.value is None and not self.may_become_known(place, limit.figure):
                return False
        return True

    def may_become_known(self, place: int, figure: str) -> bool:
        """Return whether work that was not done yet can tell a figure."""
        problem, knowledge = self.problem, self.knowledge
        if figure in problem.evaluated:
            return place not in knowledge.evaluated
        return figure in problem.measured and place not in knowledge.measured

    def is_settled(self, figure: Figure, limit: Limit) -> bool:
        """Return whether a figure is final: measured, or nothing here can tell it better."""
        if figure.origin in ("measured", "measured elsewhere"):
            return True
        return figure.origin == "predicted" and limit.figure not in self.problem.obtainable

    def _lowest(self, place: int) -> Key:
        candidate = self.problem.candidates[place]
        return self.problem.lowest_key(candidate, self.figures(place).get("size", UNKNOWN))

    def best(self, group: str) -> tuple[Key, int] | None:
        """Return the best candidate of a group that passes, with its key."""
        if group not in self._bests:
            found = [
                (self._sorting(place)[0], place)
                for place, candidate in enumerate(self.problem.candidates)
                if self.problem.group(candidate) == group and self.passes(place)
            ]
            self._bests[group] = min(found, default=None)
        return self._bests[group]
