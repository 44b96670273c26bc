# Needs make and Python 3.11 or newer; everything else goes into .venv, once. `make help` lists the targets.
PYTHON ?= python3
BACKENDS ?= tensorflow,jax,torch
PYTEST_ARGS ?=
CASES ?= tests/cases
SAMPLE ?= 450

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

# What the tests run against. macOS has no tensorflow-cpu.
# torch is pinned here and nowhere else: 2.13.0 is the CPU build that we test. Where only a CUDA build is on offer, pip
# takes that one; it is larger and works the same.
TENSORFLOW := $(if $(filter Darwin,$(shell uname -s)),tensorflow,tensorflow-cpu)
BACKEND_PACKAGES := $(TENSORFLOW) keras jax "torch==2.13.0"

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint format pages bench cases closes healthy faults clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

$(STAMP): pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "lossproof needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check $(BACKEND_PACKAGES) --editable '.[dev]'
	@touch $@

venv: $(STAMP) ## install everything into .venv

demo: $(STAMP) ## run lossproof check on the two scripts of examples/
	$(PY) scripts/demo.py

test: $(STAMP) ## run the tests once per backend (BACKENDS=jax PYTEST_ARGS="-k lab" to narrow)
	$(PY) tests/run_backends.py --backends $(BACKENDS) -- $(PYTEST_ARGS)

lint: $(STAMP) ## ruff (rules, format) and mypy --strict
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(STAMP) ## let ruff format, and mend what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

pages: $(STAMP) ## write docs/rules, docs/benchmark.md and README's table of rules anew
	$(PY) scripts/pages.py

bench: $(STAMP) ## measure time and memory (benchmarks/)
	$(PY) benchmarks/run.py

cases: $(STAMP) ## score lossproof check on the real bugs of tests/cases
	$(PY) tests/cases/score.py $(CASES) --backends $(BACKENDS)

closes: $(STAMP) ## does the account of lossproof.explain add up on every example and case?
	$(PY) scripts/closes.py --backends $(BACKENDS)

healthy: $(STAMP) ## check the healthy scripts of tests/healthy: nothing may be said of them
	$(PY) scripts/healthy.py --backends $(BACKENDS)

faults: $(STAMP) ## seed faults into healthy objectives, see which are found, and write docs/faults.md
	$(PY) -m tests.faults.run --backends $(BACKENDS) --sample $(SAMPLE) --json faults.json --page docs/faults.md

clean: ## remove .venv and what the tools leave behind
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
