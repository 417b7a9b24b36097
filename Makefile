# `make demo` and `make test` do all the set-up that they need; nothing outside this folder is touched.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# An AiiDA folder of its own, so that no existing profile is seen or changed.
export AIIDA_PATH := $(CURDIR)/.hardcoat
export TQDM_DISABLE := 1
PYTEST := $(BIN)/python -m pytest
# Two to four tests at once; each process loads PyTorch, so memory sets the limit.
PARALLEL := --numprocesses auto --maxprocesses 4 --dist worksteal

QUICK := not slow and not jobs and not vasp and not qe and not browser and not services and not faults

.PHONY: help demo test coverage test-jobs test-vasp test-browser test-qe test-services test-faults test-slow \
	lint types docs wheel benchmarks clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 16

$(VENV)/run.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0 --constraint constraints.txt
	$(PIP) --editable . --constraint constraints.txt
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	$(PIP) --editable '.[dev]' --constraint constraints.txt
	touch $@

demo: $(VENV)/run.stamp  ## TiN, Ti0.5Al0.5N and AlN from nothing to a table, in minutes
	$(BIN)/hardcoat setup
	$(BIN)/hardcoat demo

test: $(VENV)/dev.stamp  ## the quick tests
	$(PYTEST) $(PARALLEL) -m '$(QUICK)'

coverage: $(VENV)/dev.stamp  ## all tests but the slow ones and those of servers and faults, with coverage
	$(PYTEST) $(PARALLEL) --cov --cov-report=term -m 'not slow and not services and not faults'

test-jobs: $(VENV)/dev.stamp  ## many jobs of the engine ase, side by side, cut, killed and started again
	$(PYTEST) $(PARALLEL) -m jobs

test-vasp: $(VENV)/dev.stamp  ## the engine vasp, on a stand-in that writes VASP's files
	$(PYTEST) $(PARALLEL) -m vasp

test-browser: $(VENV)/dev.stamp  ## the web page in a headless Chromium
	$(PYTEST) $(PARALLEL) -m browser

test-qe: $(VENV)/dev.stamp  ## the engine quantumespresso with a real pw.x
	$(PYTEST) $(PARALLEL) -m 'qe and not slow'

test-services: $(VENV)/dev.stamp  ## PostgreSQL, RabbitMQ, SSH and Slurm on loopback; by root, with Debian's packages
	$(PYTEST) -m services tests/services tests/cli

test-faults: $(VENV)/dev.stamp  ## the same, with servers and jobs that die
	PYTHONPATH=tests/faults $(PYTEST) -p fault_table --numprocesses 6 --dist loadfile -m faults tests/faults

test-slow: $(VENV)/dev.stamp  ## the tests that compute for minutes
	$(PYTEST) -m slow

lint: $(VENV)/dev.stamp  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp  ## mypy, strict on physics/ and hardcoat_ml/
	$(BIN)/mypy

docs: $(VENV)/dev.stamp  ## the documentation, as HTML in docs/_build
	$(BIN)/sphinx-build --fail-on-warning --keep-going -b html docs docs/_build

wheel: $(VENV)/dev.stamp  ## the wheel, in dist/
	$(BIN)/python -m build --wheel

benchmarks: $(VENV)/dev.stamp  ## ratios against other programs (tens of minutes)
	$(BIN)/python benchmarks/sqs.py
	$(BIN)/python benchmarks/evaluations.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/overhead.py --engine quantumespresso --composition AlN --atoms 2
	$(BIN)/python benchmarks/cgcnn.py
	$(BIN)/python benchmarks/catalogue.py
	$(BIN)/python benchmarks/catalogue.py --bundle
	$(BIN)/python benchmarks/catalogue.py --site
	$(BIN)/python benchmarks/campaign.py

clean:  ## remove the environment, the demo's profile and everything built
	rm -rf $(VENV) .hardcoat build dist docs/_build *.egg-info
