# make demo: set everything up and run the main job. make test: set everything up and run the test suite.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# CPU users: TORCH_INDEX=<the CPU wheel index that pytorch.org's selector prints> saves the CUDA packages.
# A torch that is already in the environment is kept.
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
export TACIT_DATA ?= $(if $(wildcard ../shared/data),$(abspath ../shared/data),)
export OMP_NUM_THREADS ?= 2
PYTEST := $(BIN)/python -m pytest -q

# OpenFHE's wheel holds a binary for Python 3.10, so its workers have an environment of their own, found beside ours.
PYTHON310 ?= $(firstword $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.10*/bin/python3.10 /usr/bin/python3.10))
OPENFHE := .venv-openfhe

.PHONY: demo setup openfhe check fix test slow bench docs clean

demo: $(VENV)/.ready
	$(BIN)/tacit demo

setup: $(VENV)/.ready $(VENV)/.ready-dev

$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import torch' 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),) $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,ray,parquet,postgresql,proofs,he]'
	touch $@

openfhe: $(if $(PYTHON310),$(OPENFHE)/.ready,)
	@$(if $(PYTHON310),true,echo "no Python 3.10 was found (PYTHON310=...): tests of OpenFHE are skipped by name")

$(OPENFHE)/.ready: Makefile
	$(PYTHON310) -m venv $(OPENFHE)
	$(OPENFHE)/bin/python -m pip install --quiet openfhe==1.6.1.0.22.4 numpy==2.2.6
	touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

fix: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup
	$(PYTEST) -n 2 --dist loadfile

slow: setup
	$(PYTEST) -m slow

bench: setup
	bash benchmarks/peers/setup.sh
	$(BIN)/python benchmarks/simulation.py --json .bench/simulation.json
	$(BIN)/python benchmarks/secure_sum.py --json .bench/secure_sum.json
	$(BIN)/python benchmarks/compression.py --json .bench/compression.json
	$(BIN)/python benchmarks/homomorphic.py --json .bench/homomorphic.json
	$(BIN)/python benchmarks/proofs.py --json .bench/proofs.json

docs: setup
	$(BIN)/python docs/check.py

clean:
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis runs
