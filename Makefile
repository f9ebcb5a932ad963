# Everything runs in .venv, which the first target that needs it makes: Python >= 3.11 and a package index are enough.

PYTHON ?= python3
BIN := .venv/bin
OBJECTIVES := masked_lm causal_lm denoising span_corruption
DEMO_TOKENS ?= 1M
DEMO_NAME ?= demo
PARALLEL := -q -n auto --maxprocesses=4 --dist=worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-all mutants check format bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev --constraint constraints.txt
	@touch $@

demo: .venv/installed ## trains the four objectives for a minute or two each and prints a table
	@for objective in $(OBJECTIVES); do \
		echo; echo "== $$objective =="; \
		$(BIN)/python train.py --config configs/$$objective.yaml --name $(DEMO_NAME)-$$objective \
			--budget.raw_tokens $(DEMO_TOKENS) || exit $$?; \
	done
	@echo; $(BIN)/python summarize.py $(addprefix runs/$(DEMO_NAME)-,$(OBJECTIVES))
	@echo; echo "Each run lies in runs/$(DEMO_NAME)-OBJECTIVE: config.yaml, metrics.csv, examples.html (open it in a browser),"
	@echo "checkpoints/ and wandb/ (offline; 'wandb sync' sends it). The token store lies in cache/."

test: .venv/installed ## the default tests, a few minutes on two cores
	$(BIN)/python -m pytest $(PARALLEL)

test-all: .venv/installed ## the default tests and the slow end-to-end ones
	$(BIN)/python -m pytest $(PARALLEL) -m ''

mutants: .venv/installed ## the tests against a hundred careless mistakes, one at a time; half an hour and more
	$(BIN)/python -m tests.mutation.run

check: .venv/installed ## ruff (lint and format) and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: .venv/installed ## formats every file
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

bench: .venv/installed ## side-by-side measurements against transformers, and of the loader; some minutes
	$(BIN)/python -m benchmarks.speed

clean: ## removes .venv, caches and token stores; runs stay
	rm -rf .venv cache .pytest_cache .ruff_cache .hypothesis
