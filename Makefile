# Everything runs in .venv, which the first target that needs it makes: Python >= 3.11 and a package index are enough.

PYTHON ?= python3
BIN := .venv/bin
DEMO_TOKENS ?= 1M
DEMO_NAME ?= demo
PARALLEL := -q -n auto --maxprocesses=4 --dist=worksteal

.DEFAULT_GOAL := help
.PHONY: help install demo test test-lowest test-all test-faults mutants check format bench docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev --constraint constraints.txt
	@touch $@

install: .venv/installed ## installs everything into .venv; then `source .venv/bin/activate`

demo: .venv/installed ## trains the four objectives for two to four minutes each, and writes a report
	$(BIN)/python compare.py --config configs/comparisons/demo.yaml --name $(DEMO_NAME) --budget.raw_tokens $(DEMO_TOKENS)
	@echo; echo "Open studies/$(DEMO_NAME)/report.html in a browser. Each run lies in studies/$(DEMO_NAME)/runs/ARM-sSEED:"
	@echo "config.yaml, metrics.csv, examples.html, checkpoints/ and wandb/ (offline; 'wandb sync' sends it). The token"
	@echo "store lies in cache/."

test: .venv/installed ## the default tests, four to seven minutes on two cores
	$(BIN)/python -m pytest $(PARALLEL)

.venv-lowest/installed: pyproject.toml tests/lowest.py
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(PYTHON) tests/lowest.py > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --requirement .venv-lowest/lowest.txt
	@touch $@

test-lowest: .venv-lowest/installed ## the default tests with the lowest versions that pyproject.toml allows
	.venv-lowest/bin/python -m pytest $(PARALLEL)

test-all: .venv/installed ## the default tests and the slow end-to-end ones
	$(BIN)/python -m pytest $(PARALLEL) -m 'not faults'

test-faults: .venv/installed ## kills at every write, flipped bits, bad settings, full disks; FAULTS_KILLS=100 and more
	$(BIN)/python -m pytest -q -m faults tests/faults

mutants: .venv/installed ## the tests against two hundred careless mistakes, one at a time; a quarter of an hour and more
	$(BIN)/python -m tests.mutation.run

check: .venv/installed ## ruff (lint and format) and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: .venv/installed ## formats every file
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

bench: .venv/installed ## side-by-side measurements against transformers, training and generation; written to docs/benchmarks.md
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.loop
	$(BIN)/python -m benchmarks.generation
	$(BIN)/python -m benchmarks.tables

docs: .venv/installed ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

clean: ## removes both .venv, caches and token stores; runs stay
	rm -rf .venv .venv-lowest cache .pytest_cache .ruff_cache .hypothesis
