# Two commands do all the set-up on a fresh machine: `make demo` runs the main job, `make test` passes the tests.
# Each target installs what it needs once (stamp files); a second run installs nothing.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
# The first interpreter that is new enough; PYTHON=... overrides.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.run ## a hub and two peers on this machine: they meet, connect over WebRTC and gossip a feed
	@$(BIN)/ssb-rtc demo --once

test: dev check ## set-up, static checks, all tests, and a table of what was skipped
	@$(BIN)/python -m pytest -m "not soak" -n auto --dist loadfile

check: $(VENV)/.dev ## style, types and the import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

dev: $(VENV)/.dev ## developer tools, and the npm and Debian packages of the tests where they can be installed
	@scripts/install_debian.sh
	@scripts/install_node.sh

coverage: $(VENV)/.dev ## branch coverage of the manager, which must be whole
	@$(BIN)/coverage run --source=ssb_rtc.manager --branch -m pytest -q tests/manager
	@$(BIN)/coverage report --show-missing --fail-under=100

bench: dev ## every benchmark, ours beside the JavaScript peer's, with ratios
	@$(BIN)/python -m bench.run

soak: dev ## the long runs
	@$(BIN)/python -m pytest -m soak --timeout=3600

format: $(VENV)/.dev ## rewrite the sources in the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(VENV)/.dev ## the documentation as a site in site/
	@$(BIN)/mkdocs build --strict --quiet

clean: ## remove everything that make installed or built
	@rm -rf $(VENV) .node .stamps dist build site .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found. Install one (apt-get install python3), or name it: make demo PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no ensurepip, so it can't make a virtual environment. Install it (apt-get install python3-venv), then run make again." >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing ssb-rtc"
	@$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing ssb-rtc and its developer tools"
	@$(PIP) install -c constraints.txt -e '.[dev,docs]'
	@touch $@ $(VENV)/.run

.DEFAULT:
	@echo "There is no target '$@'. 'make help' lists what there is." >&2; exit 2

.PHONY: help demo test check dev coverage bench soak docs format clean
