"""Pipelines from a hub, against a stand-in on this machine that speaks its protocol."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.models.hub_standin import COMMIT, HubStandin, running

REPOSITORY = "studio/tiny-diffusion"
ROOT = Path(__file__).parents[2]
UNET = "unet/diffusion_pytorch_model.safetensors"
UNET_FP16 = "unet/diffusion_pytorch_model.fp16.safetensors"
LARGE_BYTES = 24 << 20  # more than the 10 MiB that huggingface_hub writes at a time


@pytest.fixture
def hub(tiny_pipeline: Any, tmp_path: Path) -> Iterator[HubStandin]:
    folder = tmp_path / "served"
    shutil.copytree(tiny_pipeline("ddpm"), folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\nA card.\n")
    with running(HubStandin(repository=REPOSITORY, folder=folder)) as standin:
        yield standin


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    """Start what answers each question in a process of its own, a fork of it."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.models.hub_child"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def resolve(
    hub: HubStandin, tmp_path: Path, server: subprocess.Popen[str]
) -> Callable[..., dict[str, Any]]:
    def call(model: str = REPOSITORY, *, env: dict[str, str] | None = None, **options: Any) -> Any:
        environment, options = _environment(hub, tmp_path, env or {}), {"model": model, **options}
        if env and "PYTHONPATH" in env:  # which only a process that begins with it obeys
            return json.loads(_child(environment, options).communicate()[0])
        question = {"environment": environment, "options": options}
        server.stdin.write(f"{json.dumps(question)}\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())

    return call


def _environment(hub: HubStandin, tmp_path: Path, env: dict[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    own = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    own["EDGEGEN_CACHE_DIR"] = str(tmp_path / "cache")
    return kept | own | {"HF_HUB_ETAG_TIMEOUT": "5"} | env


def _child(environment: dict[str, str], options: dict[str, Any]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.models.hub_child", json.dumps(options)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def blobs(tmp_path: Path) -> Path:
    return tmp_path / "home" / "hub" / "models--studio--tiny-diffusion" / "blobs"


def make_unet_large(hub: HubStandin) -> bytes:
    """Give the served UNet one tensor more; nothing but its size matters here."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    tensors = load_file(hub.folder / UNET)
    random = np.random.default_rng(0).standard_normal(LARGE_BYTES // 4, np.float32)
    save_file(tensors | {"extra": random}, hub.folder / UNET)
    return (hub.folder / UNET).read_bytes()


def test_a_hub_id_gives_a_folder_with_the_hub_s_commit_and_every_byte(hub, resolve):
    answer = resolve()

    assert answer["revision"] == COMMIT
    assert answer["family"] == "unconditional"
    assert answer["licence"] == "mit"
    assert (Path(answer["path"]) / UNET).read_bytes() == (hub.folder / UNET).read_bytes()
    assert not answer["torch"]


def test_fetching_shows_its_bytes_up_to_the_total(hub, resolve):
    weights = resolve()["steps"][-1]

    assert weights["name"] == f"weights of {REPOSITORY}"
    assert weights["done"] == weights["total"] == (hub.folder / UNET).stat().st_size


def test_only_what_a_pipeline_needs_is_fetched_and_never_a_pickle(hub, resolve):
    shutil.copy(hub.folder / UNET, hub.folder / "unet/diffusion_pytorch_model.non_ema.safetensors")
    for name in ("unet/diffusion_pytorch_model.bin", "v1-5.ckpt", "unet/flax_model.msgpack"):
        (hub.folder / name).write_bytes(b"a pickle")
    (hub.folder / "v1-5.safetensors").write_bytes(b"everything in one file")

    resolve()

    assert sorted(set(hub.fetched())) == [
        "README.md",
        "model_index.json",
        "scheduler/scheduler_config.json",
        "unet/config.json",
        UNET,
    ]


@pytest.mark.parametrize(("variant", "fetched"), [(None, UNET), ("fp16", UNET_FP16)])
def test_of_several_variants_only_the_one_that_is_taken_is_fetched(
    hub, resolve, tmp_path, variant, fetched
):
    from tests.tiny_models import build

    shutil.copy(build("ddpm", tmp_path / "fp16", dtype="float16") / UNET, hub.folder / UNET_FP16)

    answer = resolve(variant=variant)

    assert hub.fetched(".safetensors") == [fetched]
    assert answer["variants"] == [variant]
    hub.requests.clear()
    assert resolve(variant=variant, offline=True)["variants"] == [variant]
    assert hub.requests == []


def test_a_variant_that_the_hub_does_not_have_is_refused_before_anything_is_fetched(hub, resolve):
    answer = resolve(variant="fp16")

    assert answer["error"] == "SourceError"
    assert "'fp16'" in answer["message"]
    assert "plain weights only" in answer["hint"]
    assert hub.fetched() == []


def test_what_is_in_the_cache_is_not_fetched_again(hub, resolve):
    first = resolve()
    hub.requests.clear()

    assert resolve()["path"] == first["path"]
    assert hub.fetched() == []


def test_a_killed_run_is_continued_where_it_stopped(hub, resolve, tmp_path):
    content = make_unet_large(hub)
    hub.stall_after_bytes = len(content) - 1000
    child = _child(_environment(hub, tmp_path, {}), {"model": REPOSITORY})
    while _incomplete_bytes(tmp_path) < 10 << 20:
        time.sleep(0.02)
        assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.communicate()
    kept = _incomplete_bytes(tmp_path)
    hub.stall_after_bytes = None
    hub.requests.clear()

    answer = resolve()

    assert 10 << 20 <= kept < len(content)
    assert hub.ranges(UNET) == [f"bytes={kept}-"]
    assert (Path(answer["path"]) / UNET).read_bytes() == content
    assert answer["steps"][-1]["done"] == len(content)
    assert not list(blobs(tmp_path).glob("*incomplete*"))


def _incomplete_bytes(tmp_path: Path) -> int:
    found = list(blobs(tmp_path).glob("*.edgegen-incomplete"))
    return found[0].stat().st_size if found else 0


def test_a_connection_that_is_cut_is_taken_up_again_in_the_same_run(hub, resolve):
    content = make_unet_large(hub)
    hub.cut_after_bytes = 15 << 20

    answer = resolve()

    assert (Path(answer["path"]) / UNET).read_bytes() == content
    first, second = hub.ranges(UNET)
    assert first is None
    assert second is not None
    assert answer["steps"][-1]["done"] == len(content)


def test_a_server_without_ranges_sends_the_file_anew(hub, resolve):
    content = make_unet_large(hub)
    hub.cut_after_bytes = 15 << 20
    hub.ignore_ranges = True

    answer = resolve()

    assert (Path(answer["path"]) / UNET).read_bytes() == content
    assert answer["steps"][-1]["done"] == len(content)


def test_a_file_that_arrives_damaged_is_an_error_and_is_not_kept(hub, resolve):
    hub.corrupt = True

    answer = resolve()

    assert answer["error"] == "SourceError"
    assert UNET in answer["message"]
    assert "damaged" in answer["message"]
    assert "again" in answer["hint"]
    hub.corrupt = False
    assert resolve()["revision"] == COMMIT


def test_a_gated_model_says_how_to_log_in_and_where_to_accept(hub, resolve):
    hub.gated = True

    answer = resolve()

    assert answer["error"] == "SourceError"
    assert "gated" in answer["message"]
    assert "hf auth login" in answer["hint"]
    assert "HF_TOKEN" in answer["hint"]
    assert f"{hub.endpoint}/{REPOSITORY}" in answer["hint"]


def test_a_gated_model_is_fetched_with_a_token_that_only_the_hub_sees(hub, resolve):
    hub.gated = True

    assert resolve(env={"HF_TOKEN": "hf_secret"})["revision"] == COMMIT
    assert hub.ranges(UNET) == [None]
    assert hub.tokens_given_away == []


def test_an_unknown_model_says_that_neither_folder_nor_model_exists_and_how_to_log_in(resolve):
    answer = resolve("studio/tiny-difusion")

    assert answer["error"] == "SourceError"
    assert "no folder studio/tiny-difusion" in answer["message"]
    assert "hub shows no model" in answer["message"]
    assert "hf auth login" in answer["hint"]


def test_a_misspelled_model_is_compared_with_those_in_the_cache(resolve):
    resolve()

    assert f"Did you mean '{REPOSITORY}'?" in resolve("studio/tiny-difusion")["hint"]


def test_an_unknown_revision_is_named(resolve):
    answer = resolve(f"{REPOSITORY}@fp61")

    assert answer["error"] == "SourceError"
    assert "'fp61'" in answer["message"]
    assert "branch" in answer["hint"]


def test_a_refusal_without_a_reason_says_how_to_log_in(hub, resolve):
    hub.status = 403

    answer = resolve()

    assert answer["error"] == "SourceError"
    assert "403" in answer["message"]
    assert "hf auth login" in answer["hint"]


def test_too_many_requests_are_said_to_be_so(hub, resolve):
    hub.status = 429

    answer = resolve()

    assert answer["error"] == "SourceError"
    assert "too many requests" in answer["message"]


def test_without_a_network_and_a_cache_it_says_both(resolve):
    answer = resolve(env={"HF_ENDPOINT": "http://127.0.0.1:9"})

    assert answer["error"] == "SourceError"
    assert "cannot be reached" in answer["message"]
    assert "the cache does not have it" in answer["message"]
    assert "Connect to the network" in answer["hint"]


@pytest.mark.parametrize(
    "how",
    [
        {"env": {"HF_ENDPOINT": "http://127.0.0.1:9"}},
        {"env": {"HF_HUB_OFFLINE": "1"}},
        {"offline": True},
    ],
    ids=["no network", "HF_HUB_OFFLINE", "offline=True"],
)
def test_a_warm_cache_serves_without_the_hub(how, hub, resolve):
    warm = resolve()
    hub.requests.clear()

    answer = resolve(**how)

    assert answer["path"] == warm["path"]
    assert answer["revision"] == COMMIT
    assert hub.requests == []


def test_a_warm_cache_serves_while_the_hub_is_down(hub, resolve):
    warm = resolve()
    hub.status = 503

    assert resolve()["path"] == warm["path"]


def test_a_warm_cache_serves_a_commit_that_is_asked_for_by_its_hash(resolve):
    resolve()

    assert resolve(f"{REPOSITORY}@{COMMIT}", offline=True)["revision"] == COMMIT


def test_half_a_cache_is_not_taken_for_the_model(hub, resolve, tmp_path):
    resolve()
    next((blobs(tmp_path).parent / "snapshots" / COMMIT / "unet").glob("*.safetensors")).unlink()

    answer = resolve(offline=True)

    assert answer["error"] == "SourceError"
    assert "unet has no weights" in answer["message"]
    assert "goes on from it" in answer["hint"]


def test_a_repository_of_pickles_is_refused_before_anything_is_fetched(hub, resolve):
    (hub.folder / UNET).rename(hub.folder / "unet/diffusion_pytorch_model.bin")

    answer = resolve()

    assert answer["error"] == "SourceError"
    assert "diffusion_pytorch_model.bin" in answer["message"]
    assert "safe_serialization=True" in answer["hint"]
    assert hub.fetched() == []


def test_a_repository_that_is_no_pipeline_is_refused_before_anything_is_fetched(hub, resolve):
    (hub.folder / "model_index.json").unlink()
    (hub.folder / "lora.safetensors").write_bytes(b"")

    answer = resolve()

    assert answer["error"] == "SourceError"
    assert "model_index.json" in answer["message"]
    assert "studio/tiny-diffusion:lora.safetensors" in answer["hint"]
    assert "--lora FILE" in answer["hint"]
    assert hub.fetched() == []


def test_headers_are_read_without_fetching_the_weights(hub, resolve):
    content = make_unet_large(hub)
    whole = resolve(str(hub.folder))

    answer = resolve(headers=True)

    assert answer["parameters"] == whole["parameters"]
    assert answer["family"] == "unconditional"
    assert hub.ranges(UNET) == [f"bytes=0-{(1 << 20) - 1}"]
    assert len(content) > 1 << 20
    assert not Path(answer["path"]).exists()


def test_headers_longer_than_the_first_request_are_read_whole(hub, resolve):
    import numpy as np
    from safetensors.numpy import load_file, save_file

    tensors = load_file(hub.folder / UNET)
    save_file(tensors, hub.folder / UNET, metadata={"note": "x" * (1 << 20)})

    answer = resolve(headers=True)

    assert answer["parameters"] == sum(int(np.size(it)) for it in tensors.values())
    assert len(hub.ranges(UNET)) == 2


def test_headers_of_a_hub_without_ranges_are_refused_rather_than_fetching_everything(hub, resolve):
    make_unet_large(hub)
    hub.ignore_ranges = True

    answer = resolve(headers=True)

    assert answer["error"] == "SourceError"
    assert "range requests" in answer["hint"]


def test_headers_come_from_the_cache_where_it_is_whole(hub, resolve):
    warm = resolve()
    hub.requests.clear()

    assert resolve(headers=True)["path"] == warm["path"]
    assert hub.fetched() == []


def test_a_full_disk_is_said_before_the_fetch_starts(hub, resolve, tmp_path):
    make_unet_large(hub)
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import shutil\n"
        "usage = shutil.disk_usage\n"
        "shutil.disk_usage = lambda path: usage(path)._replace(free=1000)\n"
    )

    answer = resolve(env={"PYTHONPATH": f"{site}:{ROOT}"})

    assert answer["error"] == "ResourceError"
    assert "1.00 kB are free" in answer["message"]
    assert "HF_HOME" in answer["hint"]
    assert hub.fetched(".safetensors") == []


def test_a_page_that_is_no_hub_s_is_not_taken_for_one(hub, resolve):
    hub.status = 200

    answer = resolve()

    assert answer["error"] == "SourceError"
    assert "does not answer as a hub" in answer["message"]


def test_a_listing_that_names_files_outside_is_not_followed(hub):
    from edgegen.models.hub_files import choose_files

    sizes = {
        "model_index.json": 1,
        "../../evil.json": 1,
        "unet/../../evil/config.json": 1,
        "/etc/model.safetensors": 1,
        "unet/config.json": 1,
        UNET: 1,
    }

    chosen = choose_files(sizes, None, repository=REPOSITORY)

    assert chosen == ("model_index.json", "unet/config.json", UNET)


def test_the_index_of_shards_is_fetched_with_them(hub):
    from edgegen.models.hub_files import choose_files

    shards = [f"unet/diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = "unet/diffusion_pytorch_model.safetensors.index.json"
    names = ["model_index.json", "unet/config.json", index, *shards]

    assert set(choose_files(dict.fromkeys(names, 1), None, repository=REPOSITORY)) == set(names)


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("https://huggingface.co/{}", "{}"),
        ("huggingface.co/{}/", "{}"),
        ("https://hf.co/{}?library=diffusers", "{}"),
        ("https://huggingface.co/{}/tree/main", "{}@main"),
        (f"https://huggingface.co/{{}}/commit/{COMMIT}", f"{{}}@{COMMIT}"),
    ],
)
def test_the_address_of_a_model_s_page_is_its_id(address, source, resolve):
    answer = resolve(address.format(REPOSITORY))
    assert (answer["revision"], answer["source"]) == (COMMIT, source.format(REPOSITORY))


def test_the_address_of_a_file_in_a_model_is_refused_with_the_model_s_id(resolve):
    answer = resolve(f"https://huggingface.co/{REPOSITORY}/blob/main/unet/config.json")
    assert "inside a model" in answer["message"]
    assert f"{REPOSITORY}@main" in answer["hint"]


@pytest.fixture
def checkpoint(hub: HubStandin, tiny_pipeline: Any) -> HubStandin:
    """The hub, with a checkpoint beside the pipeline, and another pipeline in a folder."""
    from tests.checkpoints.original import write_original

    write_original(tiny_pipeline("sd15"), "1", hub.folder / "v1.safetensors")
    shutil.copytree(tiny_pipeline("ddim"), hub.folder / "sub" / "ddim")
    return hub


@pytest.mark.parametrize(
    "model",
    [
        f"https://huggingface.co/{REPOSITORY}/blob/main/v1.safetensors",
        f"https://huggingface.co/{REPOSITORY}/resolve/main/v1.safetensors?download=true",
        f"{REPOSITORY}@main:v1.safetensors",
    ],
)
@pytest.mark.parametrize("headers", [False, True])
def test_a_checkpoint_of_the_hub_is_fetched_alone(
    model: str,
    headers: bool,
    checkpoint: HubStandin,
    resolve: Callable[..., dict[str, Any]],
    tiny_pipeline: Any,
) -> None:
    answer = resolve(model, headers=headers, config=str(tiny_pipeline("sd15")))

    assert answer["family"] == "stable-diffusion"
    assert answer["source"] == f"{REPOSITORY}@main:v1.safetensors"
    assert answer["revision"] == COMMIT
    assert answer["name"] == "v1"
    assert set(checkpoint.fetched(".safetensors")) <= {"v1.safetensors"}
    whole = (checkpoint.folder / "v1.safetensors").stat().st_size
    fetched = [span for span in checkpoint.ranges("v1.safetensors") if span is not None]
    assert bool(fetched) == headers
    assert whole > 0
    assert answer["layouts"] == (0 if headers else 1)


@pytest.mark.parametrize(
    "model",
    [
        f"https://huggingface.co/{REPOSITORY}/tree/main/sub/ddim",
        f"https://huggingface.co/{REPOSITORY}/blob/main/sub/ddim/model_index.json",
        f"{REPOSITORY}@main:sub/ddim",
    ],
)
@pytest.mark.parametrize("headers", [False, True])
def test_a_pipeline_in_a_folder_of_a_repository_is_read(
    model: str, headers: bool, checkpoint: HubStandin, resolve: Callable[..., dict[str, Any]]
) -> None:
    answer = resolve(model, headers=headers)

    assert answer["family"] == "unconditional"
    assert answer["source"] == f"{REPOSITORY}@main:sub/ddim"
    assert answer["revision"] == COMMIT
    assert answer["name"] == "ddim"
    assert all(name.startswith("sub/ddim/") for name in checkpoint.fetched(".safetensors"))


def test_what_was_fetched_of_a_repository_is_found_offline(
    checkpoint: HubStandin, resolve: Callable[..., dict[str, Any]], tiny_pipeline: Any
) -> None:
    config = str(tiny_pipeline("sd15"))
    resolve(f"{REPOSITORY}:v1.safetensors", config=config)
    resolve(f"{REPOSITORY}:sub/ddim")

    one = resolve(f"{REPOSITORY}:v1.safetensors", config=config, offline=True)
    other = resolve(f"{REPOSITORY}:sub/ddim", offline=True)

    assert (one["revision"], other["revision"]) == (COMMIT, COMMIT)
    assert (one["family"], other["family"]) == ("stable-diffusion", "unconditional")


def test_a_file_that_a_repository_lacks_is_answered_with_the_nearest(
    checkpoint: HubStandin, resolve: Callable[..., dict[str, Any]]
) -> None:
    answer = resolve(f"{REPOSITORY}:v2.safetensors")

    assert "has no file v2.safetensors" in answer["message"]
    assert "v1.safetensors" in answer["hint"]


def test_a_gated_checkpoint_says_where_its_conditions_are_accepted(
    checkpoint: HubStandin, resolve: Callable[..., dict[str, Any]]
) -> None:
    checkpoint.gated = True

    answer = resolve(f"{REPOSITORY}:v1.safetensors")

    assert "is gated" in answer["message"]
    assert REPOSITORY in answer["hint"]
    assert "hf auth login" in answer["hint"]
