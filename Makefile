# Each target does all of its own set-up: on a fresh machine `make run` and `make test` need Python 3.11, pip/venv and make.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
# Tests of real processes wait more than they work.
JOBS   ?= $(shell expr $$(nproc) + 1)
BIN    := $(VENV)/bin
MADE   := $(VENV)/.made
RUN    := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev

# The policy has no I/O, so its tests need none: they run in one process, in seconds, and must reach every branch.
PURE   := $(wildcard tests/unit/test_machine*.py tests/unit/test_supervisor*.py) \
	$(foreach name,errors spec ends wire plan launch intents waits views memos timers history guard,tests/unit/test_$(name).py)

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help run test check test-all lint types contracts pure suite format docs faults screenshots bench bench-tui soak clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

# a stamp, not the interpreter: a set-up that was interrupted is begun anew
$(MADE):
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Taskmaster needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(RUN): pyproject.toml $(MADE)
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(DEV): pyproject.toml $(MADE)
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@ $(RUN)

run: $(RUN) ## set up, then start the demo of config/demo.toml and show it; Ctrl-C ends it without a terminal
	$(BIN)/taskmaster --instance demo -f config/demo.toml up

test: $(DEV) lint types contracts pure suite ## everything that must be green: lint, types, contracts, tests

check: test ## what CI runs

lint: $(DEV)
	$(BIN)/ruff check .

types: $(DEV)
	$(BIN)/mypy taskmaster_core taskmaster_tui tests docs
	cd taskmaster_core/shim && MYPYPATH=. $(abspath $(BIN))/mypy --strict --explicit-package-bases --config-file= \
		--cache-dir=$(CURDIR)/.mypy_cache/shim *.py

contracts: $(DEV)
	$(BIN)/lint-imports --no-cache

pure: $(DEV)
	$(BIN)/coverage run -m pytest -q -p no:cacheprovider $(PURE)
	$(BIN)/coverage report

# Real processes on a machine that others use too: what failed in the crowd is named and gets one more try, alone.
suite: $(DEV)
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m 'not slow' --durations=15 $(PURE:%=--ignore=%) || \
	{ echo 'failed beside others, once more alone:'; $(BIN)/python -m pytest -q -m 'not slow' --lf --lfnf none $(PURE:%=--ignore=%); }

test-all: $(DEV) lint types contracts pure ## as test, with the slow ones and ten times as many random walks
	TASKMASTER_HYPOTHESIS=deep $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal --timeout 600 --durations=15

format: $(DEV) ## sort imports and mend what can be mended
	$(BIN)/ruff check --fix .

docs: $(DEV) ## write again what is generated: docs/states.md, docs/faults.md, the config reference, the JSON Schema
	$(BIN)/python docs/generate.py

faults: $(DEV) ## run every test that bears the id of a fault, and write docs/faults.md with what became of it
	JOBS=$(JOBS) $(BIN)/python docs/faults.py

screenshots: $(DEV) ## take the pictures of the README again: the real app on the demo, as SVG and (with rsvg-convert) PNG
	$(BIN)/python docs/screenshots.py

bench: $(DEV) ## measure, and print ratios to peers (they go into their own venv)
	$(BIN)/python benchmarks/run.py

bench-tui: $(DEV) ## measure the terminal UI in a real pty, over slow links too
	$(BIN)/python benchmarks/tui.py

MINUTES ?= 10
SEED    ?=
soak: $(DEV) ## hurt fifty jobs for MINUTES=10 by the chances of SEED=, and say what grew (docs/soak.md)
	$(BIN)/python -m tests.soak --minutes $(MINUTES) $(SEED:%=--seed %)

clean: ## remove what the targets above made; a running demo is not touched
	rm -rf build/soak $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
