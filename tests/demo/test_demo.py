"""The demonstration, from end to end and offline."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgegen.core.codec import load_json
from edgegen.core.measurement import Measurement
from edgegen.core.package import EVIDENCE_NAME, MANIFEST_NAME, Evidence, PackageManifest
from edgegen.runner.png import read_pixels

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 1800
NO_NETWORK = "http://127.0.0.1:9"  # nothing listens at the discard port

GUARD = """
import socket
_plain = socket.socket.connect
def _guarded(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        raise AssertionError(f"the demonstration went to {address}")
    return _plain(self, address)
socket.socket.connect = _guarded
"""


def demo(folder: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    """Run the demonstration where every attempt to reach a network fails."""
    guard = scratch / "guard"
    guard.mkdir(exist_ok=True)
    (guard / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    settings = {
        "EDGEGEN_CACHE_DIR": str(scratch / "cache"),
        "EDGEGEN_STATE_DIR": str(scratch / "state"),
        "HF_HOME": str(scratch / "hub"),
        "HF_ENDPOINT": NO_NETWORK,
        "PYTHONPATH": str(guard),
    }
    return subprocess.run(
        [sys.executable, str(ROOT / "demo" / "demo.py"), str(folder)],
        env={**os.environ, **settings},
        cwd=scratch,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.mark.slow
def test_the_demonstration_makes_torchs_pictures_without_a_network(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    done = demo(folder, tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]

    manifest = load_json(PackageManifest, folder / "emoji" / MANIFEST_NAME)
    assert manifest.source.model == "builtin:emoji"
    assert not manifest.parity_failed
    assert load_json(Evidence, folder / "emoji" / EVIDENCE_NAME).parity

    pictures = sorted(path.name for path in (folder / "images").glob("*.png"))
    assert len(pictures) >= 6
    for name in pictures:
        made, torch = read_pixels(folder / "images" / name), read_pixels(folder / "torch" / name)
        assert made.shape == torch.shape == (64, 64, 3)
        assert made.std() > 10, "a picture of something"
        assert abs(made.astype(int) - torch.astype(int)).max() <= 1

    assert (folder / "compare.png").stat().st_size > 10_000
    assert load_json(Measurement, folder / "bench.json").golden
    assert "</html>" in (folder / "bench.html").read_text(encoding="utf-8")
    commands = [line for line in done.stdout.splitlines() if line.startswith("$ edgegen ")]
    assert {line.split()[2] for line in commands} == {"package", "run", "bench"}


@pytest.mark.slow
def test_the_demonstration_stops_where_its_folder_holds_something_else(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    (folder / "emoji").mkdir(parents=True)
    precious = folder / "emoji" / "precious.txt"
    precious.write_text("mine", encoding="utf-8")
    done = demo(folder, tmp_path)
    assert done.returncode == 2
    assert "error:" in done.stderr
    assert precious.read_text(encoding="utf-8") == "mine"
