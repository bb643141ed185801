"""Files and folders that may not be read or written: each case an error with a hint."""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import shutil
from pathlib import Path

import pytest

from edgegen.cli.main import run
from edgegen.core.fork import run_forked
from edgegen.core.shipped import shipped
from tests.conftest import TinyPipeline
from tests.faults.command import Outcome
from tests.tiny_packages import onnx_package


@pytest.fixture
def place(tmp_path: Path, tiny_pipeline: TinyPipeline) -> Path:
    """Return a folder with a model, a package, a profile and edgegen's own folders."""
    shutil.copytree(tiny_pipeline("ddpm"), tmp_path / "model")
    onnx_package(tmp_path / "package")
    shutil.copy(shipped("profiles") / "raspberry-pi-5.toml", tmp_path / "profile.toml")
    for name in ("cache", "state", "temporary", "out", "home"):
        (tmp_path / name).mkdir()
    return tmp_path


def without_rights(place: Path, *words: str) -> Outcome:
    """Run a command line, in a fork that root's rights are taken from."""

    def call() -> str:
        give_up_rights()
        own = {"EDGEGEN_CACHE_DIR": "cache", "EDGEGEN_STATE_DIR": "state", "HOME": "home"}
        os.environ.update({name: str(place / folder) for name, folder in own.items()})
        os.environ["TMPDIR"] = str(place / "temporary")
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            code = run([word.replace("@", f"{place}/") for word in words])
        return json.dumps([code, errors.getvalue()])

    forked = run_forked(call)
    assert forked.text, forked
    code, errors = json.loads(forked.text)
    return Outcome(code=code, errors=errors)


def give_up_rights() -> None:
    """Let permissions count for this process and its children, as they do for any other user."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    version_3, drop_from_bounding_set = 0x20080522, 24
    ignoring_permissions = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    for capability in ignoring_permissions:
        assert libc.prctl(drop_from_bounding_set, capability, 0, 0, 0) == 0
    header = (ctypes.c_uint32 * 2)(version_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    assert libc.capget(header, sets) == 0
    for index in (0, 1, 2):
        sets[index] &= ~sum(1 << capability for capability in ignoring_permissions)
    assert libc.capset(header, sets) == 0


PACKAGE = ("package", "@model", "-t", "onnx", "-o", "@out/new", "--skip-parity")
MODEL = (
    "model",
    "model/model_index.json",
    "model/unet",
    "model/unet/config.json",
    "model/unet/diffusion_pytorch_model.safetensors",
    "model/scheduler",
    "model/scheduler/scheduler_config.json",
)
RUN = ("run", "@package", "--prompt", "x", "--steps", "1", "-o", "@out/image.png")
PACKAGED = (
    "package",
    "package/edgegen.json",
    "package/unet",
    "package/unet/model.onnx",
    "package/scheduler",
    "package/scheduler/scheduler_config.json",
    "package/tokenizer",
    "package/tokenizer/vocab.json",
)
BENCH = ("bench", "@package", "--quick", "--html", "@out/page.html")
REPLACE = ("package", "@model", "-t", "onnx", "-o", "@package", "--force", "--dry-run")
CASES = [
    *((("inspect", "@model"), path) for path in MODEL),
    *(((*PACKAGE, "--dry-run"), path) for path in MODEL),
    ((*PACKAGE, "-p", "@profile.toml"), "profile.toml"),
    (PACKAGE, "out"),
    *((REPLACE, path) for path in PACKAGED[:3]),
    *((("verify", "@package"), path) for path in PACKAGED),
    *((RUN, path) for path in (*PACKAGED, "out")),
    *(
        pytest.param(words, path, marks=pytest.mark.slow)
        for words in (BENCH, ("deploy", "@package", "-d", "local"))
        for path in PACKAGED
    ),
    pytest.param(BENCH, "out", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(
    ("words", "path"), CASES, ids=lambda it: it if isinstance(it, str) else it[0]
)
def test_what_may_not_be_read_is_an_error(words: tuple[str, ...], path: str, place: Path) -> None:
    (place / path).chmod(0o000)
    outcome = without_rights(place, *words)
    (place / path).chmod(0o755)
    outcome_is_orderly(outcome)
    assert outcome.code != 0


def outcome_is_orderly(outcome: Outcome) -> None:
    assert "Traceback" not in outcome.errors
    assert "defect" not in outcome.errors
    if outcome.code:
        assert "error: " in outcome.errors
        assert "hint: " in outcome.errors
        assert outcome.code != 1


@pytest.mark.slow
@pytest.mark.parametrize("path", ["cache", "state", "temporary", "home"])
def test_own_folders_that_may_not_be_written_are_an_error_or_not_needed(
    path: str, place: Path
) -> None:
    (place / path).chmod(0o500)
    for words in (RUN, ("verify", "@package"), ("status", "-d", "local")):
        outcome_is_orderly(without_rights(place, *words))
