"""What training leaves on the disk is tied to what it was made from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.basis import basis_of, is_made, note_basis
from training.loop import OtherBasisError
from training.settings import Schedule

SCHEDULE = Schedule(steps=30, batch=4, learning_rate=0.05)


def test_a_basis_tells_every_part_from_any_other():
    module = torch.nn.Linear(2, 1)
    parts = [
        (module,),
        (torch.nn.Linear(2, 1),),
        (module, SCHEDULE),
        (module, replace(SCHEDULE, steps=31)),
        (np.zeros(4, np.int16),),
        (np.zeros((2, 2), np.int16),),
        (np.zeros(2, np.int32),),
        ("ab", "c"),
        ("a", "bc"),
        ("1",),
        (1,),
        (b"1",),
    ]
    assert len({basis_of(*it) for it in parts}) == len(parts)
    assert [basis_of(*it) for it in parts] == [basis_of(*it) for it in parts]


def test_what_was_made_of_another_basis_is_refused(tmp_path):
    path = tmp_path / "vae"
    assert not is_made(path, "one")
    note_basis(path, "one")
    assert not is_made(path, "one")
    path.mkdir()
    assert is_made(path, "one")
    with pytest.raises(OtherBasisError, match="vae was made from other settings, data or earlier"):
        is_made(path, "other")
    (tmp_path / "vae.basis").unlink()
    with pytest.raises(OtherBasisError):
        is_made(path, "one")
