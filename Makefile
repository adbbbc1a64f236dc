SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_VENV ?= .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed
PEERS_STAMP := $(if $(filter 0,$(PEERS)),,$(BENCH_STAMP))
LOCK_FLAGS := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url

.DEFAULT_GOAL := help
.PHONY: help run test unit check fix bench docs lock clean

help:  ## This list
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info < (3, 14)))' \
		|| { echo "Python 3.11 to 3.13 is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "Python's venv module is missing: on Debian, apt-get install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(BENCH_STAMP): bench/requirements.lock
	@$(PYTHON) -m venv --clear $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

run: $(STAMP)  ## Everything on this machine: servers, demo shop, fake providers, worker, admin API (ONCE=1: one day of the shop)
	@$(BIN)/python -m app.dev $(if $(ONCE),--once)

test: $(STAMP)  ## All tests, in a process for each core
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

unit: $(STAMP)  ## Tests without network, database or clock (seconds)
	@$(BIN)/python -m pytest tests/unit

check: $(STAMP)  ## Format, lint, types, container files, SMS as they are registered
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@$(BIN)/python -m app templates check

fix: $(STAMP)  ## Format and fix what can be fixed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(STAMP) $(PEERS_STAMP)  ## Speed and memory, ours and the peers' (ONLY=noop,latency: some; PEERS=0: ours alone; SCALE=0.1: fewer rows, keys and deliveries; MARKDOWN=1)
	@$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(if $(SCALE),--scale $(SCALE)) $(if $(MARKDOWN),--markdown) \
		$(if $(PEERS_STAMP),--peers $(BENCH_VENV)/bin/python)

docs: $(STAMP)  ## Write docs/tasks.md from the declared tasks
	@$(BIN)/python -m app tasks --markdown > docs/tasks.md

lock:  ## Resolve all locks anew (needs uv)
	@uv pip compile pyproject.toml --group dev $(LOCK_FLAGS) -o requirements.lock
	@uv pip compile pyproject.toml --constraints requirements.lock $(LOCK_FLAGS) -o requirements-runtime.lock
	@uv pip compile bench/requirements.txt $(LOCK_FLAGS) -o bench/requirements.lock

clean:  ## Remove the venv and the local servers' data
	@rm -rf $(VENV) $(BENCH_VENV) .indostar
