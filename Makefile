# kubesprint: `make demo` and `make test` set up everything they need in .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready
OUT ?= out

.PHONY: help
help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(STAMP): requirements/dev.lock pyproject.toml scripts/setup.sh
	@scripts/setup.sh "$(PYTHON)"
	@touch $@

.PHONY: setup
setup: $(STAMP) ## make .venv with everything in it

.PHONY: demo
demo: $(STAMP) ## the main job on real training processes, three minutes
	$(BIN)/kubesprint demo

.PHONY: test
test: $(STAMP) ## every test this machine can run
	$(BIN)/python -m pytest

.PHONY: test-kills
test-kills: $(STAMP) ## 200 runs killed at random instants, 50 of them in the guest; a quarter of an hour
	KUBESPRINT_KILLS=150 KUBESPRINT_GUEST_KILLS=50 \
	    $(BIN)/python -m pytest tests/system/test_sigkill.py tests/kernel/test_run_in_guest.py

.PHONY: lint
lint: $(STAMP) ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=operator $(BIN)/lint-imports

.PHONY: bench
bench: $(STAMP) ## every benchmark; raw data goes below bench/results
	$(BIN)/python -m bench

.PHONY: lock
lock: $(STAMP) ## compile the locks from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	    --python-version 3.11 --extra dev -o requirements/dev.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	    --python-version 3.11 -o requirements/runtime.lock pyproject.toml

.PHONY: clean
clean: ## remove .venv and everything generated
	rm -rf .venv $(OUT) .mypy_cache .pytest_cache .ruff_cache .hypothesis
