"""What a runner on a device can do wrong, and what the user is told."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.errors import ConnectionLostError, DeviceError, EdgegenError, RunnerError
from edgegen.devices.agent import NoPythonError
from edgegen.devices.device import Device
from edgegen.devices.facts import SystemState
from edgegen.measure.plan import BenchSettings, plan
from edgegen.measure.recording import Recorder
from edgegen.measure.session import measure
from edgegen.runner.job import DescribeJob, GenerateJob, Request
from edgegen.runner.protocol import Done, Hello, Step, Warn, parse_line
from edgegen.runner.session import RunnerSession
from tests.devices.stand_ins import LOST, OtherMachine, ScriptedRunner, device
from tests.tiny_packages import onnx_package

HELLO = {
    "event": "hello",
    "t": 1.0,
    "schema": 1,
    "runner_version": "1",
    "python": "3.11",
    "numpy": "2",
    "runtime": {"name": "onnxruntime", "version": "1", "providers": ["CPUExecutionProvider"]},
    "platform": {
        "system": "Linux",
        "release": "6",
        "machine": "aarch64",
        "cpu": None,
        "cores": 4,
        "memory_bytes": None,
    },
    "pid": 1,
    "started": 0.5,
    "process": 0.4,
}


def script(body: str) -> str:
    return (
        "import os, sys, time\n"
        "sys.stdin.readline()\n"
        f"print({json.dumps(json.dumps(HELLO))}, flush=True)\n{body}\n"
    )


def run(home: Path, body: str, **settings: Any) -> list[Any]:
    with device(ScriptedRunner(home, script(body))) as there:
        return list(RunnerSession(device=there, **settings).events(DescribeJob()))


DONE = 'print(\'{"event": "done", "t": 2.0}\', flush=True)'


def test_a_runner_that_keeps_to_the_protocol_is_heard(tmp_path: Path) -> None:
    assert isinstance(run(tmp_path, DONE)[-1], Done)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("print('Segmentation fault'); sys.stdout.flush(); time.sleep(30)", "not its protocol"),
        pytest.param(
            *("os.write(1, bytes(range(256)) + b'\\n'); time.sleep(30)", "not its protocol"),
            marks=pytest.mark.slow,
        ),
        ('print(\'{"event": "done", "t": "now"}\', flush=True); time.sleep(30)', "protocol"),
        ("sys.stdout.write('x' * 1100000); sys.stdout.flush(); time.sleep(30)", "over 1048576"),
        ('sys.stdout.write(\'{"event": "do\'); sys.stdout.flush()', "not its protocol"),
        pytest.param("sys.exit(3)", "ended with exit code 3", marks=pytest.mark.slow),
        ("pass", "ended with exit code 0"),
        ("os.kill(os.getpid(), 11)", "SIGSEGV"),
    ],
    ids=["text", "bytes", "field", "no-newline", "half-line", "exit", "no-done", "crash"],
)
def test_a_runner_that_does_not_is_an_error_that_says_so(
    tmp_path: Path, body: str, said: str
) -> None:
    with pytest.raises(RunnerError, match=said):
        run(tmp_path, body)


def test_a_runner_that_hangs_is_given_up_after_the_patience(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(RunnerError, match=r"failed while it loaded: .* 0\.5 s"):
        run(tmp_path, "time.sleep(60)", patience_s=0.5)
    assert time.monotonic() - started < 20


def test_a_runner_that_only_samples_hangs_too(tmp_path: Path) -> None:
    body = (
        "for i in range(600):\n"
        '    print(\'{"event": "sample", "t": %f, "values": {}, "cost_s": 0.0}\' % (1.1 + i * 0.1),'
        " flush=True)\n"
        "    time.sleep(0.1)"
    )
    with pytest.raises(RunnerError, match="come no further"):
        run(tmp_path, body, patience_s=0.5)


def test_a_runner_that_is_killed_says_where_it_was_and_what_the_kernel_knows(
    tmp_path: Path,
) -> None:
    body = (
        'print(\'{"event": "load", "t": 1.2, "component": "unet", "start": 1.1, "end": 1.2,'
        ' "providers": []}\', flush=True)\n'
        "os.kill(os.getpid(), 9)"
    )
    with pytest.raises(RunnerError, match=r"SIGKILL .* after it loaded unet") as caught:
        run(tmp_path, body)
    assert "--residency sequential" in caught.value.hint


def test_a_runner_that_the_kernel_ended_for_memory_is_reported_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Device, "kills_for_memory", lambda self, before: 1)
    with pytest.raises(RunnerError, match="by the kernel because memory ran out while it loaded"):
        run(tmp_path, "os.kill(os.getpid(), 9)")


def test_a_connection_that_breaks_is_no_fault_of_the_runner(tmp_path: Path) -> None:
    with pytest.raises(ConnectionLostError, match=r"was not restarted\. The runner was lost while"):
        run(tmp_path, f"os._exit({LOST})")


def test_a_connection_that_breaks_in_the_middle_of_a_line_is_told_as_such(tmp_path: Path) -> None:
    body = f'sys.stdout.write(\'{{"event": "do\'); sys.stdout.flush(); os._exit({LOST})'
    with pytest.raises(ConnectionLostError, match="was lost while it loaded"):
        run(tmp_path, body)


def test_a_restart_in_the_middle_is_told_by_the_boot_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Device.state

    def state_of_another_boot(self: Device) -> SystemState:
        import dataclasses

        return dataclasses.replace(before(self), boot_id="another")

    monkeypatch.setattr(Device, "state", state_of_another_boot)
    with pytest.raises(ConnectionLostError, match="was restarted in the middle"):
        run(tmp_path, f"os._exit({LOST})")


def test_what_prints_when_a_shell_starts_is_an_error_that_says_where_to_look(
    tmp_path: Path,
) -> None:
    class Chatty(OtherMachine):
        def interpreter(self) -> tuple[str, ...]:
            return ("sh", "-c", 'echo Welcome!; exec "$0" "$@"', *super().interpreter())

    with pytest.raises(DeviceError, match="Welcome!") as caught, device(Chatty(tmp_path)):
        pass
    assert ".bashrc" in caught.value.hint


def test_a_device_without_python_says_what_brings_one(tmp_path: Path) -> None:
    class Bare(OtherMachine):
        def interpreter(self) -> tuple[str, ...]:
            return ("sh", "-c", "exit 127", "python3")

    with pytest.raises(EdgegenError, match="has no Python") as caught, device(Bare(tmp_path)):
        pass
    assert "sudo apt install python3" in caught.value.hint
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("address", "told", "says"),
    [
        ("ssh://pi@board", "Linux aarch64", "edgegen devices setup ssh://pi@board brings one"),
        ("adb://0123", "", "edgegen devices setup adb://0123 brings one"),
        ("ssh://pi@board", "Linux x86_64", "sudo apt install python3"),
        ("ssh://pi@board", "Linux armv7l 3.7", "Install 3.9 or newer beside it"),
    ],
)
def test_what_brings_a_python_depends_on_the_device(address: str, told: str, says: str) -> None:
    assert says in NoPythonError(address, told).hint


def step(t: float, start: float, end: float) -> Step:
    return Step(t=t, image=0, index=0, of=1, timestep=1.0, start=start, end=end, runtime_s=0.1)


def hello() -> Hello:
    event = parse_line(json.dumps(HELLO))[1]
    assert isinstance(event, Hello)
    return event


def test_a_clock_that_goes_back_ends_the_measurement() -> None:
    recorder = Recorder()
    recorder.take(hello())
    recorder.take(step(5.0, 4.0, 5.0))
    with pytest.raises(RunnerError, match="clock went back"):
        recorder.take(step(3.0, 2.0, 3.0))


def test_a_step_that_ends_before_it_began_ends_the_measurement() -> None:
    recorder = Recorder()
    recorder.take(hello())
    with pytest.raises(RunnerError, match="clock went back"):
        recorder.take(step(5.0, 5.0, 4.0))


@pytest.mark.parametrize(
    ("device_s", "here_s", "said"), [(100.0, 10.0, "leapt"), (10.0, 100.0, "stood still")]
)
def test_a_clock_that_leaps_against_ours_is_told(device_s: float, here_s: float, said: str) -> None:
    times = iter([0.0, here_s])
    recorder = Recorder(lambda: next(times))
    recorder.take(hello())
    recorder.take(Warn(t=1.0 + device_s, message="x"))
    run = recorder.run("steady", started_s=0.0, launch_s=0.0)
    assert any(said in warning for warning in run.warnings)


def test_clocks_that_agree_are_not_mentioned() -> None:
    times = iter([0.0, 100.0])
    recorder = Recorder(lambda: next(times))
    recorder.take(hello())
    recorder.take(Done(t=98.5))
    assert recorder.run("steady", started_s=0.0, launch_s=0.0).warnings == ()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_for_end(pid: int, within_s: float = 10.0) -> bool:
    until = time.monotonic() + within_s
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not alive(pid)


def test_nothing_runs_on_when_the_host_is_interrupted(tmp_path: Path) -> None:
    package = onnx_package(tmp_path / "package")
    with device(OtherMachine(tmp_path / "home")) as there:
        job = GenerateJob(package=str(package), request=Request(prompts=("a cat",)), repeat=100_000)
        events = RunnerSession(device=there).events(job)
        first = next(events)
        assert isinstance(first, Hello)
        next(events)
        assert alive(first.pid)
        agent = there.agent._child
        assert agent is not None
        with pytest.raises(KeyboardInterrupt):
            events.throw(KeyboardInterrupt())
        assert wait_for_end(first.pid)
    assert wait_for_end(agent.pid)


def test_a_runner_ends_where_the_host_falls_silent(tmp_path: Path) -> None:
    """A network that just stops: no end of input, and no sign of life."""
    import subprocess
    import sys

    from edgegen.runner.job import job_line
    from edgegen.runner.pack import packed_runner

    package = onnx_package(tmp_path / "package")
    job = GenerateJob(package=str(package), request=Request(prompts=("a cat",)), repeat=100_000)
    with subprocess.Popen(
        [sys.executable, str(packed_runner())],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "EDGEGEN_HOST_SILENCE_S": "1.5"},
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(job_line(job).encode() + b"\n")
        process.stdin.flush()
        for _ in range(4):  # signs of life
            time.sleep(0.6)
            process.stdin.write(b"\n")
            process.stdin.flush()
        assert process.poll() is None
        assert process.wait(timeout=30) == 4
        assert b"host has gone" in process.stderr.read()


def test_a_measurement_on_a_device_holds_what_the_device_said(tmp_path: Path) -> None:
    package = onnx_package(tmp_path / "package")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    planned = plan(package, BenchSettings(quick=True, steps=2, threads=1))
    with device(OtherMachine(tmp_path / "home")) as there:
        found = measure(planned, device=there, pictures=pictures)
    assert found.environment.device == "ssh://stand-in"
    assert [path.name for path in pictures.iterdir()] == ["0.png"]
    assert all(0 < run.launch_s < 30 for run in found.runs)
    assert not list((tmp_path / "home" / "runs").glob("*"))
