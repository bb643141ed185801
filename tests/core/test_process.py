"""core/process.py with real children."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from edgegen.core.environment import NETWORK, REMOTE, Names
from edgegen.core.errors import MissingDependencyError
from edgegen.core.process import MAXIMUM_LINE_BYTES, Child, ProcessError, describe_exit, run


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until_dead(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_alive(pid)


def test_run_returns_output_and_passes_input_and_environment() -> None:
    code = "import os,sys; print(os.environ['EDGEGEN_X'] + sys.stdin.read())"
    done = run(python(code), timeout_s=20, env={"EDGEGEN_X": "a"}, input="b")
    assert (done.returncode, done.text) == (0, "ab\n")


def environment_of_a_child(besides: Names | None) -> dict[str, str]:
    code = "import json,os; print(json.dumps(dict(os.environ)))"
    ran = json.loads(run(python(code), timeout_s=20, env={"ADDED": "yes"}, besides=besides).text)
    with Child(python(code), env={"ADDED": "yes"}, besides=besides) as child:
        assert json.loads(next(child.lines())) == ran
    return dict(ran)


@pytest.mark.parametrize("besides", [None, NETWORK, REMOTE], ids=["alone", "network", "remote"])
def test_a_child_sees_named_variables_and_no_secret(
    besides: Names | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "DATABASE_URL", "MY_PASSWORD")
    for name in secrets:
        monkeypatch.setenv(name, "secret")
    settings = ("OMP_NUM_THREADS", "LD_LIBRARY_PATH", "LC_ALL", "ORT_X", "CUDA_VISIBLE_DEVICES")
    for name in (*settings, "HTTPS_PROXY", "no_proxy", "PIP_INDEX_URL", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, "1")
    seen = environment_of_a_child(besides)
    assert not {*secrets} & {*seen}
    assert {*settings, "PATH", "ADDED"} <= {*seen}
    assert ("PIP_INDEX_URL" in seen) == (besides is NETWORK)
    assert ("SSH_AUTH_SOCK" in seen) == (besides is REMOTE)
    assert ("HTTPS_PROXY" in seen and "no_proxy" in seen) == (besides is not None)


def test_a_child_sees_what_the_user_passes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VENDOR_HOME", "NPU_A", "NPU_B", "NPUS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("EDGEGEN_PASS_ENV", "VENDOR_HOME, NPU_*")
    seen = environment_of_a_child(None)
    assert {"VENDOR_HOME", "NPU_A", "NPU_B"} <= {*seen}
    assert "NPUS" not in seen


def test_run_raises_with_code_and_tail_of_a_failing_program() -> None:
    with pytest.raises(ProcessError) as caught:
        run(python("import sys; sys.exit('the reason')"), timeout_s=20)
    assert caught.value.returncode == 1
    assert caught.value.tail == "the reason"
    assert "the reason" in caught.value.message


def test_run_names_a_missing_program() -> None:
    with pytest.raises(MissingDependencyError, match="no-such-program is not installed"):
        run(["no-such-program"], timeout_s=1)


def test_run_stops_a_program_and_its_children_at_the_time_limit(tmp_path: Path) -> None:
    code = (
        "import os,pathlib,subprocess,sys,time\n"
        "p = subprocess.Popen([sys.executable,'-S','-c','import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(p.pid))\n"
        "time.sleep(60)"
    )
    with pytest.raises(ProcessError) as caught:
        run(python(code), timeout_s=1.5)
    assert caught.value.timed_out
    assert wait_until_dead(int((tmp_path / "pid").read_text()))


def test_child_echoes_lines_and_reports_exit_code_and_processor_time(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for line in sys.stdin:\n"
        "    print(line.upper(), end='', flush=True)\n"
        "    if line == 'end\\n': sum(range(3_000_000)); sys.exit(3)"
    )
    with Child(python(code), log=tmp_path / "log") as child:
        child.send("one")
        lines = child.lines()
        assert next(lines) == "ONE"
        child.send("end")
        assert list(lines) == ["END"]
        assert child.wait(10) == 3
    assert child.describe_exit() == "ended with exit code 3"
    assert child.cpu_s is not None
    assert child.cpu_s > 0.02


def test_child_and_grandchild_are_gone_after_an_exception_in_the_block() -> None:
    code = (
        "import subprocess,sys,time\n"
        "p = subprocess.Popen([sys.executable,'-S','-c','import time; time.sleep(60)'])\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(60)"
    )
    pids: list[int] = []

    def interrupted() -> None:
        with Child(python(code)) as child:
            pids.extend((child.pid, int(next(child.lines()))))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(pids) == 2
    assert all(wait_until_dead(pid) for pid in pids)


def test_child_that_ignores_sigterm_is_killed_after_the_grace_time() -> None:
    code = (
        "import signal,time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    with Child(python(code)) as child:
        assert next(child.lines()) == "ready"
        assert child.terminate(grace_s=0.1) == -signal.SIGKILL


def test_killed_child_is_reported_by_signal_name_with_its_log() -> None:
    code = (
        "import os,sys; print('last words', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)"
    )
    with Child(python(code)) as child:
        assert list(child.lines()) == []
        child.wait(10)
        assert "SIGKILL" in child.describe_exit()
        assert "memory" in child.describe_exit()
        assert child.log_tail() == "last words"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (-11, "was ended by SIGSEGV (a crash in native code)"),
        (139, "was ended by SIGSEGV (a crash in native code)"),
        (-4, "was ended by SIGILL (an instruction that the processor lacks)"),
        (132, "was ended by SIGILL (an instruction that the processor lacks)"),
        (137, "was ended by SIGKILL, probably by the system because memory ran out"),
        (130, "was ended by SIGINT"),
        (128, "ended with exit code 128"),
        (255, "ended with exit code 255"),
        (3, "ended with exit code 3"),
    ],
)
def test_a_signal_is_named_however_it_is_told(code: int, told: str) -> None:
    assert describe_exit(code) == told


def test_lines_end_when_the_child_dies_though_a_grandchild_holds_its_output() -> None:
    code = (
        "import os,subprocess,sys\n"
        "p = subprocess.Popen([sys.executable,'-S','-c','import time; time.sleep(60)'])\n"
        "print(p.pid, flush=True)\n"
        "os._exit(1)"
    )
    started = time.monotonic()
    with Child(python(code)) as child:
        (line,) = child.lines()
    assert time.monotonic() - started < 10
    assert wait_until_dead(int(line))


def test_line_without_end_is_refused_before_it_fills_memory() -> None:
    code = f"import sys; sys.stdout.write('x' * {MAXIMUM_LINE_BYTES + 2}); sys.stdout.flush()"
    with Child(python(code)) as child, pytest.raises(ProcessError, match="line of over"):
        list(child.lines())


def test_lines_of_every_length_arrive_whole() -> None:
    with Child(python("for n in (0, 1, 70_000, 5): print('y' * n)")) as child:
        assert [len(line) for line in child.lines()] == [0, 1, 70_000, 5]


def test_silence_longer_than_allowed_is_an_error() -> None:
    with Child(python("import time; time.sleep(60)")) as child:
        with pytest.raises(ProcessError) as caught:
            list(child.lines(silence_s=0.3))
        assert caught.value.timed_out


def test_child_that_watches_its_input_ends_when_the_host_is_killed(tmp_path: Path) -> None:
    watcher = "import sys; print('up', flush=True); sys.stdin.read()"
    host = (
        "import sys,time\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from edgegen.core.process import Child\n"
        f"c = Child([sys.executable, '-S', '-c', {watcher!r}])\n"
        "next(c.lines()); print(c.pid, flush=True); time.sleep(60)"
    )
    with Child(python(host)) as outer:
        inner = int(next(outer.lines()))
        os.kill(outer.pid, signal.SIGKILL)
        assert wait_until_dead(inner)


def test_send_to_an_ended_child_is_told_by_wait_only() -> None:
    with Child(python("raise SystemExit(4)")) as child:
        list(child.lines())
        child.send("x" * 100_000)
        assert child.wait(5) == 4


def test_many_threads_can_run_programs_at_once() -> None:
    results: list[str] = []
    threads = [
        threading.Thread(
            target=lambda n=n: results.append(run(python(f"print({n})"), timeout_s=30).text)
        )
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [f"{n}\n" for n in range(6)]


def test_a_child_whose_end_a_signal_swallowed_is_closed_without_another_error() -> None:
    with Child(python("pass")) as child:
        os.waitpid(child.pid, 0)  # as if an exception had struck just behind this call in `_reap`
    assert child.returncode == -signal.SIGKILL
    assert child.wait() == -signal.SIGKILL
