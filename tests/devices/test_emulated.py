"""The real bundle on an emulated Android, and an emulated Raspberry Pi behind a real sshd.

Opt-in: `make test-emulated`. They need root, qemu-user-static, Debian's archive and PyPI, and some
minutes; what they prove is behaviour, never timing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from edgegen_runner.metrics import psnr_db

from edgegen.core.process import Completed, run
from edgegen.runner.bundle.build import Bundle, build_bundle
from edgegen.runner.pack import pack_runner
from edgegen.runner.png import read_pixels
from edgegen.runner.wheels import download, wheels_for
from tests.devices.android_root import AndroidRoot
from tests.devices.arm64_root import MODEL, arm64_root
from tests.devices.emulation import arm64_programs, needs_emulation
from tests.devices.sshd import Sshd, needs_sshd
from tests.tiny_packages import onnx_package

pytestmark = pytest.mark.emulated

STORAGE = "/data/local/tmp"
DRAW = '--prompt "a cat" --seed 3 --steps 3 --threads 1'
IS_EMULATED = "import edgegen_runner.emulation as e; print(e.is_emulated())"


@pytest.fixture(scope="module", autouse=True)
def _emulation() -> Iterator[None]:
    needs_emulation()
    with arm64_programs():
        yield


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return build_bundle("android-arm64")


@pytest.fixture(scope="module")
def android(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> AndroidRoot:
    """Return a phone to which the bundle and the runner were pushed, and a tiny package."""
    root = AndroidRoot.make(tmp_path_factory.mktemp("android") / "root")
    shutil.copyfile(bundle.archive, root.storage / "bundle.tar")
    (root.storage / "runner.pyz").write_bytes(pack_runner())
    onnx_package(root.storage / "package")
    root.run(
        f"cd {STORAGE} && tar -xf bundle.tar && rm bundle.tar && ln -s {bundle.folder} runtime"
    )
    return root


def python(android: AndroidRoot, code: str) -> Completed:
    (android.storage / "code.py").write_text(code)
    return android.run(f"cd {STORAGE} && sh runtime/python code.py")


def test_emulated_phone_has_no_python_of_its_own(android: AndroidRoot) -> None:
    told = android.run(
        "uname -m; getprop ro.product.model; ls /; command -v python3 ld.so || echo no"
    )
    assert told.text.split("\n")[:2] == ["aarch64", "Stand-in Phone"]
    assert told.text.split("\n")[2:] == ["data", "dev", "proc", "sys", "system", "no", ""]


def test_bundle_is_the_same_when_it_is_built_again(bundle: Bundle) -> None:
    again = build_bundle("android-arm64", refresh=True)
    assert (again.id, again.sha256) == (bundle.id, bundle.sha256)


def test_bundle_runs_numpy_and_the_runtime_where_nothing_else_is(android: AndroidRoot) -> None:
    done = python(
        android,
        "import json, os, sys, tempfile, numpy, onnxruntime, hashlib, ctypes, subprocess\n"
        "from importlib import metadata\n"
        "again = subprocess.run([sys.executable, '-c', 'print(6 * 7)'], capture_output=True)\n"
        "print(json.dumps({\n"
        "    'numpy': [numpy.__version__, metadata.version('numpy')],\n"
        "    'onnxruntime': [onnxruntime.__version__, metadata.version('onnxruntime')],\n"
        "    'product': (numpy.ones((8, 8)) @ numpy.ones((8, 8))).sum(),\n"
        "    'providers': onnxruntime.get_available_providers(),\n"
        "    'executable': sys.executable, 'again': again.stdout.decode(),\n"
        "    'tmp': tempfile.gettempdir(), 'home': os.path.expanduser('~'),\n"
        "    'telemetry': os.environ['ORT_DISABLE_TELEMETRY'], 'utf8': sys.flags.utf8_mode,\n"
        "}))\n",
    )
    told = json.loads(done.text)
    assert told["numpy"][0] == told["numpy"][1]
    assert told["onnxruntime"][0] == told["onnxruntime"][1]
    assert told["product"] == 512
    assert "CPUExecutionProvider" in told["providers"]
    assert told["again"] == "42\n"
    real = told["executable"].removesuffix("/python")
    assert real.startswith(f"{STORAGE}/android-arm64-")
    assert (told["tmp"], told["home"]) == (f"{real}/tmp", f"{real}/home")
    assert (told["telemetry"], told["utf8"]) == ("1", 1)
    assert done.error_text == ""


def test_bundle_writes_nothing_into_itself_when_it_runs(android: AndroidRoot) -> None:
    before = sorted(android.storage.glob("android-arm64-*/**/*"))
    python(android, "import numpy, onnxruntime")
    assert sorted(android.storage.glob("android-arm64-*/**/*")) == before


def test_runner_of_the_bundle_draws_the_image_that_this_machine_draws(
    android: AndroidRoot, tmp_path: Path
) -> None:
    android.run(
        f"cd {STORAGE} && sh runtime/python runner.pyz --package package {DRAW} -o image.png"
    )
    runner = tmp_path / "runner.pyz"
    runner.write_bytes(pack_runner())
    package = onnx_package(tmp_path / "package")
    command = f'"{sys.executable}" "{runner}" --package "{package}" {DRAW} -o here.png'
    subprocess.run(
        ["sh", "-c", command],
        check=True,
        cwd=tmp_path,
        timeout=120,
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
    )
    there = read_pixels(android.storage / "image.png").astype(float)
    here = read_pixels(tmp_path / "here.png").astype(float)
    assert here.std() > 1, "an even image would prove nothing"
    assert psnr_db(here, there, peak=255) >= 50


def test_runner_sees_that_the_phone_is_emulated(android: AndroidRoot) -> None:
    seen = python(android, f"import sys; sys.path.insert(0, 'runner.pyz'); {IS_EMULATED}")
    assert seen.text == "True\n"


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    needs_sshd()
    with Sshd(tmp_path_factory.mktemp("pi") / "sshd", root=arm64_root()) as sshd:
        yield sshd


def ssh(sshd: Sshd, command: str, *, data: bytes | None = None) -> Completed:
    arguments = ("ssh", "-F", str(sshd.ssh_config), "-o", "BatchMode=yes", "-p", str(sshd.port))
    return run((*arguments, "127.0.0.1", command), timeout_s=300, input=data)


def test_emulated_pi_says_what_a_pi_says(pi: Sshd) -> None:
    told = ssh(pi, "uname -m; vcgencmd get_throttled; tail -1 /proc/cpuinfo; hostname").text
    assert told.splitlines() == ["aarch64", "throttled=0x0", f"Model\t\t: {MODEL}", "raspberrypi"]


def test_pinned_wheels_work_in_a_venv_of_the_pis_own_python(pi: Sshd, tmp_path: Path) -> None:
    version = json.loads(ssh(pi, "python3 -c 'import sys; print(list(sys.version_info[:2]))'").text)
    wheels = download(wheels_for((version[0], version[1]), "Linux", "aarch64", (2, 36)), tmp_path)
    ssh(pi, "python3 -m venv --without-pip /root/v")
    for wheel in wheels:
        unzip = "import sys, zipfile, io; zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read()))"
        place = "/root/v/lib/python3.11/site-packages"
        ssh(pi, f"python3 -c '{unzip}.extractall(\"{place}\")'", data=wheel.read_bytes())
    code = "import numpy, onnxruntime; print(numpy.__version__, onnxruntime.__version__)"
    told = ssh(pi, f"ORT_DISABLE_TELEMETRY=1 /root/v/bin/python -c '{code}'")
    assert told.text.split() == [wheel.name.split("-")[1] for wheel in wheels]


def test_runner_sees_that_the_pi_is_emulated_though_its_cpuinfo_is_a_pis(pi: Sshd) -> None:
    ssh(pi, "cat > /root/runner.pyz", data=pack_runner())
    told = ssh(pi, f'PYTHONPATH=/root/runner.pyz python3 -c "{IS_EMULATED}"')
    assert told.text == "True\n"


def test_what_the_pi_wrote_survives_its_restart_and_its_processes_do_not(pi: Sshd) -> None:
    ssh(pi, "echo kept > /root/kept; nohup sleep 1000 >/dev/null 2>&1 &")
    assert "sleep 1000" in ssh(pi, "ps ax").text
    pi.stop()
    pi.start()
    assert ssh(pi, "cat /root/kept").text == "kept\n"
    assert "sleep 1000" not in ssh(pi, "ps ax").text


def test_bundle_for_boards_runs_beside_the_boards_own_python(pi: Sshd) -> None:
    board = build_bundle("linux-arm64")
    ssh(pi, "tar -xf - -C /root", data=board.archive.read_bytes())
    code = "import os, numpy, onnxruntime; print(os.environ['HOME'], onnxruntime.__version__)"
    version = next(part.version for part in board.parts if part.name == "onnxruntime")
    assert ssh(pi, f'/root/{board.folder}/python -c "{code}"').text == f"/root {version}\n"
