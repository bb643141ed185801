"""Suites are data: which one is asked of which model, and what it asks first."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.errors import ConfigError
from edgegen.evaluate.suite import (
    FOLDER,
    KNOWN,
    check_distinct,
    load_suite,
    questions,
    shown_name,
    split_of,
    suite_names,
)
from edgegen.scenes.scores import GROUPS


@pytest.mark.parametrize("name", suite_names())
def test_a_suite_that_ships_asks_each_prompt_once(name: str) -> None:
    asked = questions(load_suite(str(FOLDER / f"{name}.toml"), "any"))
    assert len({(it.prompt, it.seed) for it in asked}) == len(asked) >= 24


@pytest.mark.parametrize(
    ("model", "suite"),
    [
        ("builtin:scenes", "known-scenes"),
        ("builtin:scenes-4step-tiny", "known-scenes"),
        ("builtin:emoji", "known-emoji"),
        ("org/model", "known"),
    ],
)
def test_a_model_is_asked_what_it_knows(model: str, suite: str) -> None:
    found = load_suite(KNOWN, model)
    assert found.name == suite
    assert shown_name(found) == KNOWN


def test_few_questions_are_of_as_many_kinds_and_of_both_splits() -> None:
    asked = questions(load_suite(KNOWN, "builtin:scenes"), 10)
    assert {it.kind.partition(": ")[2] for it in asked} == set(GROUPS)
    assert {split_of(it.kind) for it in asked} == {"trained", "held-out"}
    assert all(it.scene is not None for it in asked)


def test_stress_goes_beyond_the_token_limit_and_has_an_empty_prompt() -> None:
    prompts = [it.prompt or "" for it in questions(load_suite("stress", "any"))]
    assert "" in prompts
    assert sum(len(prompt.split()) > 77 for prompt in prompts) >= 3
    assert any(not prompt.isascii() for prompt in prompts)


def test_a_suite_of_the_users_own_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ndescription = ""\n[[prompts]]\nkind = "cats"\ntexts = ["a cat", "cats"]\n'
    )
    suite = load_suite(str(path), "any")
    assert [it.prompt for it in questions(suite)] == ["a cat", "cats"]
    with pytest.raises(ConfigError, match="'mine'"):
        check_distinct((suite, suite))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "x"\ndescription = ""\n', "neither prompts nor scenes"),
        ('name = "x"\ndescription = ""\n[scenes]\nof_each = 0\n', "of_each is 0"),
        ('name = "x"\ndescription = ""\n[[prompts]]\nkind = "a"\ntext = ["b"]\n', "text"),
    ],
)
def test_a_file_that_is_no_suite_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_suite(str(path), "any")


def test_an_unknown_suite_names_those_that_are_known() -> None:
    with pytest.raises(ConfigError) as caught:
        load_suite("stres", "any")
    assert "stress" in caught.value.hint
