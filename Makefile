# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Everything is installed into .venv and .build in this folder. Needed beforehand: make, and Python 3.11 or later.

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
BIN := $(CURDIR)/.venv/bin
# Two sets of packages: what the demo and the sandbox need, and everything.
RUNS := .venv/.ready-demo
READY := .venv/.ready
TREE := .build/ansible_collections/dirsync/authentik
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.build
export PATH := $(BIN):$(PATH)
CORES ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
# When this began, for what `make check` says at its end; .ci/run has begun before.
ifndef CHECK_BEGUN
CHECK_BEGUN := $(shell date +%s)
endif
export CHECK_BEGUN
# The environment of the caller must not decide what the tests see.
unexport PYTHONPATH

.DEFAULT_GOAL := help
.PHONY: help setup demo picture sandbox check test unit truth lies mutants bench release clean gates \
	lint types licences changelog workflows docs sanity compat artifact importer environments cores

help: ## Show what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(READY) ## Install everything into .venv and .build

$(RUNS): requirements.txt tests/requirements-sandbox.txt tests/requirements-demo.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed (PYTHON=/path/to/python3)" >&2; exit 1; }
	@echo "Installing ansible-core, Google's libraries and the sandbox into .venv (once; a minute or so) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements-demo.txt
	@mkdir -p .build/ansible_collections/dirsync
	@ln -sfn ../../.. $(TREE)
	@touch $(RUNS)

$(READY): $(RUNS) tests/requirements.txt tests/requirements-run.txt
	@echo "Installing the tools that test and build the collection into .venv (once; a few minutes) ..."
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet -r tests/requirements.txt
	@touch $(READY)

demo: $(RUNS) ## Watch users and groups reach Google, on the embedded sandbox
	@$(BIN)/python -m tests.support.demo

picture: $(RUNS) ## Run the demo and draw its output into docs/demo.svg
	@$(BIN)/python -m tests.support.picture

sandbox: $(RUNS) ## Run the sandbox (an authentik and a Google Directory on loopback) until Ctrl-C
	@$(BIN)/python -m tests.sandbox $(SANDBOX)

check: $(READY) ## Run what a push runs: checks and tests, in a quarter of an hour on two cores (PYTEST='...')
	@$(BIN)/python -m tests.support.check $(PYTEST)

test: $(READY) ## Run all tests, as many at a time as there are cores (PYTEST='...')
	$(BIN)/python -m pytest -n $(CORES) --dist worksteal $(PYTEST)

unit: $(READY) ## Run the tests of the pure parts
	$(BIN)/python -m pytest tests/unit $(PYTEST)

truth: $(READY) ## Try to catch the modules lying (TRUTH_EXAMPLES=1000 sequences, TRUTH_SEED=0, TRUTH_JOBS=2)
	$(BIN)/python -m tests.truth

lies: $(READY) ## Make the modules lie on purpose, and see that the truth machine catches each lie
	$(BIN)/python -m tests.truth.lies

mutants: $(READY) ## Change the heart of the collection in single places, and see that tests notice (MUTANTS=300, MUTANTS_SEED=0)
	$(BIN)/python -m tests.truth.mutants

lint: $(READY) ## Check style: ruff, and ansible-lint with the profile production over the whole repository
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tests.support.lint

types: $(READY) ## Check the types of plugins and tests: mypy
	$(BIN)/mypy

licences: $(READY) ## Check that every file states its licence: REUSE
	$(BIN)/reuse lint

changelog: $(READY) ## Check the changelog's fragments
	$(BIN)/antsibull-changelog lint

workflows: $(READY) ## Check pipelines and issue forms: actionlint, and their published schemas
	$(BIN)/python -m tests.support.workflows

docs: $(READY) ## Check the documentation, and build it as a site into .build/docs/site
	$(BIN)/python -m tests.support.docs

# Beside `make setup`: it needs no more than Python. What it could not make is made when it is wanted.
cores:
	@$(PYTHON) -m tests.support.cores

sanity: $(READY) ## Run ansible-test sanity, on each ansible-core (SANITY='--core 2.19 --python 3.11' for one)
	$(BIN)/python -m tests.support.sanity $(SANITY)

compat: $(READY) ## Run unit and integration tests on the oldest and the newest ansible-core, and test_templates.py on each (COMPAT='-k ...')
	$(BIN)/python -m tests.support.compat $(COMPAT)

artifact: $(READY) ## Build the collection, install it into an empty folder, run the demo from there
	$(BIN)/python -m tests.support.artifact

importer: $(READY) ## Run galaxy-importer on the built collection
	$(BIN)/python -m tests.support.importer

environments: $(READY) ## Check what execution environments are made of
	$(BIN)/python -m tests.support.environments

gates: lint types licences changelog workflows docs sanity artifact importer environments compat ## All of these

release: $(READY) ## Everything up to the artifact and the tag's message (VERSION=1.2.3)
	@$(BIN)/python -m tests.support.release $(VERSION)

bench: $(READY) ## Measure, side by side
	PYTHONPATH=$(CURDIR)/.build $(BIN)/python -m tests.bench $(BENCH)

clean: ## Remove what make made
	rm -rf .venv .build .cache .pytest_cache .ruff_cache .ansible .hypothesis tests/output
