"""The limits of quality that recipes ship with."""

from __future__ import annotations

import pytest

from edgegen.core.figures import Limit, check_limits
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_targets

EXPERIMENTS = {("coreml", "palette1"), ("coreml", "palette2")}
"""Their pictures show hardly anything, so there is nothing to promise."""
CELLS = [(target, recipe) for target, spec in load_targets().items() for recipe in spec.recipes]


@pytest.mark.parametrize(("target", "name"), CELLS)
def test_a_recipe_promises_at_least_what_its_golden_image_must_reach(
    target: str, name: str
) -> None:
    recipe = load_recipe(name, load_targets()[target])
    if (target, name) in EXPERIMENTS:
        assert recipe.quality is None
        return
    assert recipe.quality is not None
    assert recipe.quality.psnr_db is not None
    check_limits((Limit(figure="psnr", value=recipe.quality.psnr_db),))
    # Means of many pictures lie lower than one golden image where that is held to be near.
    assert recipe.quality.psnr_db >= min(recipe.tolerance.image_psnr_db, 40.0)
