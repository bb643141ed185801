"""What a context says of itself is read from its file, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgegen_runner.contexts import Context, context_of, read_context
from edgegen_runner.errors import RunnerFailure

WRITTEN = (
    b"\x02\x00OpO=3;dont_soc_type=SM1;soc_type=SM8650;arch=75;num_nsps=1;vtcm_size=8388608;x\x00"
)


def test_a_context_names_its_chip(tmp_path: Path) -> None:
    path = tmp_path / "model_qnn.bin"
    path.write_bytes(bytes(5000) + WRITTEN + bytes(100))
    assert read_context(path) == Context("SM8650", 75, 8 << 20)
    assert context_of(tmp_path / "model.onnx") == path


@pytest.mark.parametrize("data", [b"", bytes(100), WRITTEN[:30], WRITTEN.replace(b"arch", b"a")])
def test_what_names_no_chip_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model_qnn.bin"
    path.write_bytes(data)
    with pytest.raises(RunnerFailure) as caught:
        read_context(path)
    assert caught.value.kind == "bad-package"
    assert str(path) in caught.value.message


def test_a_context_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunnerFailure, match="cannot be read"):
        read_context(tmp_path / "model_qnn.bin")
