"""The things that scenes are made of, and what they are called."""

from __future__ import annotations

import numpy as np
import pytest

from edgegen.scenes.objects import Name, objects, plural
from edgegen.scenes.render import sprites
from edgegen.scenes.scene import NORMAL_PX


@pytest.mark.parametrize(
    ("singular", "expected"),
    [
        ("fox", "foxes"),
        ("cherry", "cherries"),
        ("monkey", "monkeys"),
        ("mug of beer", "mugs of beer"),
        ("paintbrush", "paintbrushes"),
        ("rose", "roses"),
    ],
)
def test_a_regular_plural_follows_the_rules_of_spelling(singular, expected):
    assert plural(singular) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (Name("fox", "foxes"), "a fox"),
        (Name("owl", "owls"), "an owl"),
        (Name("umbrella", "umbrellas"), "an umbrella"),
        (Name("unicorn", "unicorns"), "a unicorn"),
        (Name("grapes", None), "grapes"),
    ],
)
def test_an_article_fits_the_sound_and_a_name_that_is_not_counted_has_none(name, expected):
    assert name.with_article() == expected


def test_an_adjective_takes_the_article():
    assert Name("owl", "owls").with_article("small") == "a small owl"
    assert Name("grapes", None).with_article("small") == "small grapes"


def test_there_are_at_least_four_hundred_things_and_no_name_means_two_of_them():
    names = [name.singular for thing in objects() for name in thing.names]
    assert len(objects()) >= 400
    assert len(set(names)) == len(names)


def test_every_thing_has_a_picture_of_its_own():
    colour, alpha = sprites(NORMAL_PX)
    assert len(colour) == len(objects())
    assert (alpha.mean((1, 2, 3)) > 0.05).all()
    assert len(np.unique(colour.reshape(len(colour), -1), axis=0)) == len(colour)
