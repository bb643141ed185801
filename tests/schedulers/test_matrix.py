"""Every scheduler, configuration, option, start and number of steps draws what diffusers draws."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import diffusers
import pytest
import torch

from tests.schedulers.cells import cells
from tests.schedulers.page import EVERY, PAGE, page
from tests.schedulers.sides import write_folder
from tests.schedulers.verdicts import Tally, tally

# diffusers' KDPM2 classes call numpy's functions on tensors
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")

SAMPLED = 449
"""Every so many cells are drawn in the ordinary tests: a prime, which no axis divides."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Yield a package's folder, with diffusers quiet and torch in one thread."""
    threads, verbosity = torch.get_num_threads(), diffusers.logging.get_verbosity()
    torch.set_num_threads(1)
    diffusers.logging.set_verbosity_error()
    write_folder(tmp_path)
    yield tmp_path
    torch.set_num_threads(threads)
    diffusers.logging.set_verbosity(verbosity)


def test_a_sample_of_all_cells_is_equal_or_refused_by_name(folder: Path) -> None:
    found = tally(islice(cells(), 0, None, SAMPLED), folder)
    _check(found)
    assert found.kinds["equal"] > 38


@pytest.mark.slow
def test_every_cell_is_equal_or_refused_by_name_and_the_page_says_how_many(folder: Path) -> None:
    _check(tally(cells(), folder))
    found = tally(islice(cells(), 0, None, EVERY), folder)
    assert PAGE.read_text(encoding="utf-8") == page(found)


def _check(found: Tally) -> None:
    assert not found.wrong, "\n".join(f"{each.cell}: {each.why}" for each in found.wrong[:10])
    assert all(why.startswith(("unsupported-scheduler", "bad-request")) for why in found.reasons)
