"""Runtimes on a board that are installed and do not work: nobody calls them ready."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import closing
from pathlib import Path

import pytest

from edgegen.core.errors import DeviceError, MissingDependencyError
from edgegen.core.process import run
from edgegen.devices import discovery
from edgegen.devices.device import Device
from edgegen.devices.discovery import Listing, look_at
from edgegen.devices.facts import DeviceFacts, Fault, RuntimeFacts
from edgegen.devices.faults import explain_fault
from edgegen.runner import provision
from edgegen.runner.job import Backend, DescribeJob
from edgegen.runner.provision import why_not
from edgegen.runner.session import RunnerSession
from tests.devices.stand_ins import OtherMachine, device
from tests.runner.test_provision import NUMPY, ORT

SETUP = "edgegen devices setup ssh://stand-in gives it an environment of its own."
FOR_NUMPY_1 = """\
A module that was compiled using NumPy 1.x cannot be run in NumPy 2.2.6 as it may crash. To support
both 1.x and 2.x versions of NumPy, modules must be compiled with NumPy 2.0.

AttributeError: _ARRAY_API not found
Segmentation fault
"""
C_EXTENSIONS = """\
Importing the numpy C-extensions failed. Original error was: {}
and make sure that they are the versions you expect.
Please carefully study the documentation linked above for further help on
your python interpreter from there.
"""


class Board(OtherMachine):
    """This machine with a Python of its own, in which a test puts packages."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "home")
        self._python = folder / "python"
        run((sys.executable, "-m", "venv", "--without-pip", str(self._python)), timeout_s=60)
        (self._packages,) = self._python.glob("lib/python*/site-packages")

    def interpreter(self) -> tuple[str, ...]:
        return (str(self._python / "bin" / "python"), "-I")

    def has(self, name: str, version: str, body: str) -> None:
        """Install a package of one module."""
        (self._packages / f"{name}.py").write_text(body)
        info = self._packages / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    made = Board(tmp_path)
    monkeypatch.setattr(discovery, "open_transport", lambda address, root: made)
    return made


def look(board: Board) -> Listing:
    return look_at(board.address, b"", why_not)


@pytest.fixture(autouse=True)
def _packed(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgegen.runner.pack import pack_runner

    monkeypatch.setattr(
        discovery, "Device", lambda transport, runner: Device(transport, pack_runner())
    )


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> DeviceFacts:
    """A board whose own Python 3.11.2 has a numpy and an onnxruntime."""
    board = Board(tmp_path_factory.mktemp("board"))
    board.has("numpy", "2.2.6", NUMPY)
    board.has("onnxruntime", "1.16.3", ORT)
    with device(board) as there:
        runtime = there.facts.runtime
        assert runtime is not None
        return dataclasses.replace(
            there.facts, runtime=dataclasses.replace(runtime, python="3.11.2")
        )


def test_a_runtime_that_works_is_ready(board: Board) -> None:
    board.has("numpy", "2.2.6", NUMPY)
    board.has("onnxruntime", "1.20.1", ORT)
    listing = look(board)
    assert listing.is_ready
    assert listing.packages == {"numpy": "2.2.6", "onnxruntime": "1.20.1"}


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("raise ImportError('numpy.core.multiarray failed to import')", "for another numpy"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "it crashes"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "lacks an instruction"),
        ("import no_such_module", "it needs the module no_such_module"),
        ("InferenceSession = None", "TypeError: 'NoneType' object is not callable"),
    ],
)
def test_a_runtime_that_is_installed_and_fails_is_not_ready(
    body: str, cause: str, board: Board
) -> None:
    board.has("numpy", "2.2.6", NUMPY)
    board.has("onnxruntime", "1.16.3", body)
    listing = look(board)
    assert not listing.is_ready
    (lack,) = listing.lacks
    assert "its onnxruntime 1.16.3 does not work with its numpy 2.2.6" in lack.what
    assert cause in lack.what
    assert "edgegen devices setup ssh://stand-in" in lack.command


def test_one_runtime_that_works_is_enough_and_the_other_is_named(board: Board) -> None:
    board.has("numpy", "2.2.6", NUMPY)
    board.has("onnxruntime", "1.20.1", ORT)
    board.has(
        "openvino",
        "2025.4.0",
        "raise ImportError('libpugixml.so.1: cannot open shared "
        "object file: No such file or directory')",
    )
    listing = look(board)
    assert listing.is_ready
    assert listing.packages is not None
    assert "openvino" not in listing.packages
    (lack,) = listing.lacks
    assert "the library libpugixml.so.1 is not installed there" in lack.what


@pytest.mark.parametrize(
    "ending", ["os.kill(os.getpid(), signal.SIGILL)", "raise ImportError('x')"]
)
def test_a_run_that_dies_of_it_says_so(ending: str, board: Board) -> None:
    board.has("numpy", "2.2.6", NUMPY)
    board.has("onnxruntime", "1.16.3", f"import os, signal; {ending}")
    with device(board) as there:
        session = RunnerSession(device=there)
        with (
            pytest.raises(MissingDependencyError, match=r"its onnxruntime 1\.16\.3 does not work"),
            closing(session.events(DescribeJob(backend=Backend(name="onnxruntime")))) as events,
        ):
            list(events)


def test_nothing_is_written_outside_of_the_folder_when_a_runtime_is_tried(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    mark = tmp_path / "home-of-the-user"
    leaves = (
        f"import os\nif os.environ.get('ORT_DISABLE_TELEMETRY') != '1': os.mkdir({str(mark)!r})\n"
    )
    board.has("numpy", "2.2.6", NUMPY)
    board.has("onnxruntime", "1.29.0", leaves + ORT)
    assert look(board).is_ready
    assert not mark.exists()


@pytest.mark.parametrize(
    ("said", "returncode", "cause", "hint"),
    [
        (FOR_NUMPY_1, 139, "it was built for another numpy", SETUP),
        (
            "ImportError: /lib/libstdc++.so.6: version `GLIBCXX_3.4.29' not found (required by "
            " onnxruntime_pybind11_state.so)",
            1,
            "libstdc++: GLIBCXX_3.4.29 is not in it",
            "Use a newer system there",
        ),
        (
            "ImportError: /lib/libm.so.6: version `GLIBC_2.29' not found (required by x.so)",
            1,
            "a newer C library than the system's: GLIBC_2.29",
            "Use a newer system there",
        ),
        (
            C_EXTENSIONS.format("libstdc++.so.6: cannot open shared object file: No such file"),
            1,
            "the C++ library libstdc++.so.6 is not installed",
            "sudo apt-get install libstdc++6",
        ),
        (
            C_EXTENSIONS.format("libopenblas.so.0: cannot open shared object file: No such file"),
            1,
            "the library libopenblas.so.0 is not installed",
            "apt-file search libopenblas.so.0",
        ),
        (
            C_EXTENSIONS.format("No module named 'numpy._core._multiarray_umath'"),
            1,
            "it was built for another Python than 3.11.2",
            SETUP,
        ),
        (
            "ImportError: /usr/lib/libgomp.so.1: cannot allocate memory in static TLS block",
            1,
            "/usr/lib/libgomp.so.1 is loaded too late",
            "export LD_PRELOAD=/usr/lib/libgomp.so.1",
        ),
        (
            "ImportError: x.so: failed to map segment from shared object: Operation not permitted",
            1,
            "mounted noexec",
            "edgegen devices setup ssh://stand-in --root DIR",
        ),
        ("", 132, "an instruction that it uses (SIGILL)", "OPENBLAS_CORETYPE=ARMV8"),
        ("", -4, "an instruction that it uses (SIGILL)", "OPENBLAS_CORETYPE=ARMV8"),
        ("", -11, "it crashes", SETUP),
        ("", 1, "it did not say why", SETUP),
        ("{ValueError}: {0} {python}\n", 1, "{ValueError}: {0} {python}", SETUP),
    ],
)
def test_the_cause_is_named_and_what_mends_it(
    said: str, returncode: int, cause: str, hint: str, facts: DeviceFacts
) -> None:
    fault = Fault(package="onnxruntime", returncode=returncode, said=said)
    error = explain_fault("ssh://stand-in", facts, fault)
    assert cause in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"machine": "armv7l"}, "32-bit ARM"),
        ({"glibc": None}, "C library is not glibc"),
        ({"machine": "riscv64"}, "No wheels of numpy and onnxruntime are known"),
        ({"glibc": (2, 17)}, "glibc 2.17"),
    ],
)
def test_setup_is_not_proposed_where_it_would_refuse(
    changes: dict[str, object], reason: str, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Device.look_again
    monkeypatch.setattr(
        Device,
        "look_again",
        lambda self, **how: dataclasses.replace(real(self, **how), python="3.11.2", **changes),
    )
    (lack,) = look(board).lacks
    assert reason in lack.what
    assert "devices setup" not in lack.command
    board.has("numpy", "2.2.6", NUMPY)
    board.has("onnxruntime", "1.16.3", "raise ImportError('_ARRAY_API not found')")
    (lack,) = look(board).lacks
    assert "devices setup" not in lack.command


@pytest.mark.parametrize(
    ("has", "own", "asked", "installed"),
    [
        (None, False, (), ["onnxruntime"]),
        (None, False, ("openvino",), ["openvino"]),
        (("onnxruntime", "ai-edge-litert"), True, (), ["onnxruntime", "ai-edge-litert"]),
        (("openvino",), True, (), ["openvino"]),
        (("onnxruntime",), True, ("openvino",), ["onnxruntime", "openvino"]),
        (("openvino",), False, (), ["openvino", "onnxruntime"]),
    ],
)
def test_setup_keeps_the_runtimes_that_are_there(
    has: tuple[str, ...] | None, own: bool, asked: tuple[str, ...], installed: list[str]
) -> None:
    before = has and RuntimeFacts(
        command=("python3",),
        python="3.11.2",
        packages=dict.fromkeys(("numpy", *has), "1"),
        own=own,
        bundle=False,
        faults=(),
    )
    assert list(provision._runtimes_after(before or None, asked)) == installed


@pytest.mark.parametrize(
    ("installed", "answers", "fits"),
    [
        ("2.4.6", "2.4.6", True),
        ("1.17.0+nv24.4", "1.17.0", True),
        ("2026.4.1", "2026.4.1-22982-releases/2026/4", True),
        ("2.4.6", "1.26.4", False),
        ("1.2", "1.23", False),
    ],
)
def test_what_answers_is_compared_with_what_was_installed(
    installed: str, answers: str, fits: bool
) -> None:
    done = provision.Provision(
        device="ssh://pi",
        place="/home/pi/.edgegen/runtime",
        python="3.11.2",
        packages={"numpy": answers, "onnxruntime": "1.23.2"},
        sent_bytes=0,
        removed={},
    )
    wanted = {"numpy": installed, "onnxruntime": "1.23.2", "flatbuffers": "25"}
    if fits:
        provision._check_answers(done, wanted)
        return
    with pytest.raises(DeviceError, match="answers: something there leads Python to other modules"):
        provision._check_answers(done, wanted)
