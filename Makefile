# Two commands are enough: `make demo` and `make test`. Each sets up .venv first, once.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
EXTRAS ?= dev,s3,store,servers,kubernetes,dask-cluster
SOURCE ?= gcm_demo
ARGS   ?=
# In the order of collection the tests that take a minute each, those of whole stacks, come first.
WORKERS ?= -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test coverage test-ui lint format gcm stack constraints clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY)  ## make the environment in .venv (skipped while pyproject.toml and constraints.txt stand)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or later is needed; say which: make PYTHON=/path/to/python3.11 …"; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version): about 4 minutes, 2.5 GB, once"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[baselines]' \
	  || echo "pysteps was not built (it wants a C compiler): all works but the RainFARM baseline"
	@touch $@

demo: $(READY)  ## the whole pipeline on the sample record; another one: make demo SOURCE=radar_mch_20150515
	@$(BIN)/stvd demo --source $(SOURCE) $(ARGS)

test: $(READY) lint  ## lint, types, layers, then every test
	@$(BIN)/pytest $(WORKERS) $(ARGS)

coverage: $(READY)  ## every test, and the lines that none runs; half as long again, so not part of `make test`
	@$(BIN)/pytest $(WORKERS) --cov --cov-report=term:skip-covered $(ARGS)

test-ui: $(READY)  ## Prefect and MLflow as an operator sees them, in Chromium; pictures: ui-screenshots/
	@$(BIN)/pytest -m ui tests/integration/test_operator.py $(ARGS)

lint: $(READY)  ## ruff, mypy and the rule flows -> tasks -> stvd
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(READY)  ## let ruff mend and format the code
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format .

gcm: $(READY)  ## the checkpoint `gcm` from the beginning, into runs/gcm: simulates its records, then trains; hours of a core
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[jcm]'
	@$(BIN)/python benchmarks/records.py gcm train
	@$(BIN)/stvd train recipes/gcm.yaml --out runs/gcm $(ARGS)

stack: $(READY)  ## start Prefect, MLflow and workers on this machine; with S3: make stack ARGS=--store
	@$(BIN)/stvd stack $(ARGS)

constraints: $(READY)  ## write the installed set to constraints.txt, once the tests pass with it
	@{ sed -n '/^#/p' constraints.txt; \
	   $(BIN)/python -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9_.-]+==' | sed 's/+[a-z0-9.]*$$//'; } > constraints.new
	@mv constraints.new constraints.txt

clean:  ## remove the environment and caches; products and runs stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
