# Every target makes and uses .venv by itself. PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT ?= out
FUZZ_CASES ?= 1000

# A test that hangs, or that takes its process down, fails by name; it doesn't hold up the others.
PYTEST := $(BIN)/python -m pytest -q
IN_PARALLEL := -n auto --dist loadfile --no-loadscope-reorder --max-worker-restart=0 \
	-o faulthandler_timeout=300 -o faulthandler_exit_on_timeout=true

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# Hundreds of processes are started: each would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check bench peers fuzz train-builtin builtin-scores test-slow test-scale test-peers test-emulated test-ray test-npu docs clean help

help:
	@echo "make demo        package the built-in model, make images without torch, measure this machine"
	@echo "make test        the tests that need nothing but this machine"
	@echo "make check       format, lint, types, and the tests"
	@echo "make bench       the benchmarks against peers, side by side (long)"
	@echo "make peers       environments of the peers' tools, from pins (gigabytes)"
	@echo "make train-builtin  the built-in models, from the seed (hours; goes on where it stopped)"
	@echo "make builtin-scores  what the built-in models draw of what captions ask for (hours)"
	@echo "make test-slow   the tests that take minutes"
	@echo "make fuzz        broken and hostile input, FUZZ_CASES of each fuzzer (default: 1000)"
	@echo "make test-scale  full-size models with random weights (10 GB of disk)"
	@echo "make test-peers  our packages in the peers' own runtimes"
	@echo "make test-ray    a farm of three machines, played by Ray on this one (installs Ray)"
	@echo "make test-npu    packages for phones' NPUs, compiled and emulated (installs Qualcomm's onnxruntime-qnn)"
	@echo "make docs        the documentation as a site, in $(OUT)/docs"
	@echo "make test-emulated  a Raspberry Pi and an Android device, played by qemu (root; Debian)"

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/python demo/demo.py $(OUT)/demo

test: $(STAMP)
	$(PYTEST) $(IN_PARALLEL)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) $(IN_PARALLEL)

test-slow: $(STAMP)
	$(PYTEST) -m slow

fuzz: $(STAMP)
	EDGEGEN_FUZZ_CASES=$(FUZZ_CASES) $(PYTEST) tests/fuzz

test-scale: $(STAMP)
	$(PYTEST) -m scale

test-peers: $(STAMP)
	$(PYTEST) -m peers

test-emulated: $(STAMP)
	$(PYTEST) -m emulated

test-ray: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,ray]'
	$(PYTEST) -m ray

test-npu: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,npu]'
	$(PYTEST) -m npu

peers: $(STAMP)
	$(BIN)/python benchmarks/peer_environments.py $(PEERS)

bench: $(STAMP)
	$(BIN)/python benchmarks/convert_onnx.py
	$(BIN)/python benchmarks/convert_openvino.py --skip-without-peer
	$(BIN)/python benchmarks/convert_tflite.py --skip-without-peer
	$(BIN)/python benchmarks/runtime_step.py

train-builtin: $(STAMP)
	$(BIN)/python -m training --work $(OUT)/train-builtin

builtin-scores: $(STAMP)
	$(BIN)/python benchmarks/builtin_scores.py --every-caption --packages --write builtin-scores

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir $(CURDIR)/$(OUT)/docs
	@echo "$(OUT)/docs/index.html"

clean:
	rm -rf $(OUT) dist build .pytest_cache .mypy_cache .ruff_cache
