# make repro: recordings → results table.  make ablations: one thing changed at a time.  make ui: browse the runs.
# make test: all checks.  make bench: speed.
#
# PYTHON=python3.12   the interpreter for a new .venv (3.11 to 3.13; found by itself if not given)
# PIP_ARGS=...        options for pip, such as an index with builds of torch for the CPU alone or for your GPU
# PYTEST_ARGS=...     options for pytest, such as -m "not slow"

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
PIP_ARGS ?=
PYTEST_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := true

.PHONY: repro ablations setup test lint ui bench clean
.DEFAULT_GOAL := repro

repro: setup
	@$(BIN)/python -m asma.repro

# Everything in recipes/ablations.yaml, after the stages that it stands on.
ablations: setup
	@$(BIN)/python -m asma.repro ablations

setup: $(READY)

# A torch that is there already and satisfies the lock stays as it is, whatever it was built for.
$(READY): requirements.lock
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found; give one: make PYTHON=/path/to/python" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing requirements.lock into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r requirements.lock
	@touch $@

# One thread a process: the tests run in two.
test: setup lint
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

lint: setup
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

# The store is opened once before, so that the UI and a first stage never make it at the same time.
ui: setup
	@$(BIN)/python -c 'from asma.mlflow_store import page; print("open", page("http://127.0.0.1:5000"))'
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --workers 1 --host 127.0.0.1 \
		--backend-store-uri "$$($(BIN)/python -c 'from asma.mlflow_store import place; print(place()[0])')"

# Our speed beside a plain rendering of the same work, some ten minutes; FULL=1 for every case.
bench: setup
	@$(BIN)/python -m benchmarks $(if $(FULL),--full)

# What checks and Python leave behind; results, recordings and the environment stay.
clean:
	@rm -rf .mypy_cache .pytest_cache .ruff_cache
	@find asma stages tests -name __pycache__ -type d -prune -exec rm -rf {} +
