# One command each; `make help` lists them. CI runs the same.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHON
# Some images set it; then each server, kernel and worker of a test compiles our modules again.
unexport PYTHONDONTWRITEBYTECODE

INSTALLED := .venv/.installed
NODE_PACKAGES := labextension/node_modules/.installed
BUNDLE := jupyter_mlsvc/labextension/package.json
BUNDLE_SOURCES := $(wildcard $(addprefix labextension/,package.json tsconfig.json yarn.lock \
	vite.config.mts vite.widget.config.mts schema/* style/* src/*.ts src/*.tsx src/*/*.ts \
	src/*/*.tsx src/*/*/*.ts src/*/*/*.tsx \
	copy-tutorials.cjs)) $(wildcard notebooks/*.ipynb)

DOCS := server_ext/docs

MLSVC_JUPYTER_PORT ?= 8888
MLSVC_BASE_URL ?= /
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/:.*## /\t/' | expand -t 20

.PHONY: install
install: $(INSTALLED) ## Create .venv and install everything development needs

$(INSTALLED): pyproject.toml labextension/hatch_build.py $(wildcard server_ext/*-config/*) .ci/install \
		.ci/requirements.txt
	@.ci/install

.PHONY: lock
lock: ## Write the releases and digests that install takes (UPGRADE=1 for newer ones)
	@.ci/lock

.PHONY: labextension
labextension: $(BUNDLE) ## Build the side panel, linked into .venv, the page for callers and the widgets

$(BUNDLE): $(BUNDLE_SOURCES) $(NODE_PACKAGES)
	@echo "==> Building the side panel, the page for callers and the widgets"
	@cd labextension && jlpm build >/dev/null
	@jupyter-builder develop --overwrite jupyter_mlsvc >/dev/null 2>&1
	@touch $@

$(NODE_PACKAGES): labextension/package.json labextension/yarn.lock $(INSTALLED)
	@.ci/install-node-packages

.PHONY: system
system: ## Install with apt what some tests need and pip can't bring
	@.ci/install-system

DATABASE ?= sqlite

.PHONY: test
test: system $(INSTALLED) $(BUNDLE) ## Run every test: the front end's units, then Python, servers and notebooks (DATABASE=postgresql)
	@echo "==> Front end"
	@cd labextension && jlpm test
	@echo "==> Python"
	@pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --database=$(DATABASE)

.PHONY: test-fast
test-fast: $(INSTALLED) ## Run the tests that start no process
	@pytest --fast -n logical --maxprocesses 4 --dist loadfile

EXAMPLES ?= 100

.PHONY: fuzz
fuzz: $(INSTALLED) ## Make up many calls, others each time, to a server (EXAMPLES=100 of either kind a call)
	@MLSVC_FUZZ_EXAMPLES=$(EXAMPLES) pytest tests/fuzz

.PHONY: lint
lint: types lint-labextension docs audit ## Check style, types, imports, spelling, documentation, known holes
	@echo "==> Style, imports and spelling"
	@ruff check && ruff format --check
	@lint-imports --no-logo
	@deptry .
	@codespell

.PHONY: audit
audit: $(INSTALLED) ## Look up known vulnerabilities of what is installed, where their database is in reach
	@echo "==> Known vulnerabilities"
	@.ci/audit

.PHONY: lint-labextension
lint-labextension: $(NODE_PACKAGES) ## Check style and types of the side panel
	@echo "==> Side panel"
	@cd labextension && jlpm lint:check

.PHONY: types
types: $(INSTALLED) ## Check the types of both packages and the tests
	@echo "==> Types"
	@mypy

.PHONY: docs
docs: $(INSTALLED) ## Build the documentation into server_ext/docs/_build/html; any warning fails
	@echo "==> Documentation"
	@sphinx-build -E -W --keep-going -q -d $(DOCS)/_build/doctrees $(DOCS) $(DOCS)/_build/html

.PHONY: format
format: $(INSTALLED) $(NODE_PACKAGES) ## Mend what ruff, eslint, prettier and stylelint can mend
	@ruff check --fix && ruff format
	@cd labextension && jlpm lint

.PHONY: build
build: $(INSTALLED) ## Build sdist, wheel and the texts for translators into dist/
	@echo "==> Building sdist and wheel into dist/"
	@rm -rf dist && python -m build
	@.ci/pot

.PHONY: pot
pot: $(INSTALLED) ## Write the texts that translators need into dist/jupyter_mlsvc.pot
	@.ci/pot

.PHONY: pictures
pictures: $(INSTALLED) $(BUNDLE) ## Take the pictures of the documentation from a live server
	@python -m tests.browser.pictures

.PHONY: demo
demo: $(INSTALLED) $(BUNDLE) ## Start a server and run the walkthrough (ONCE=1 ends by itself)
	@exec python notebooks/run_demo.py

.PHONY: serve
serve: $(INSTALLED) ## Start the server in the foreground (JUPYTER=1 in a Jupyter server, without a browser)
ifeq ($(filter-out 0,$(JUPYTER)),)
	@exec jupyter-mlsvc serve
else
	@exec python -m jupyter_mlsvc_server.extension --no-browser $(AS_ROOT) \
		--ServerApp.port_retries=0 --ServerApp.port="$(MLSVC_JUPYTER_PORT)" \
		--ServerApp.base_url="$(MLSVC_BASE_URL)"
endif

.PHONY: bench
bench: $(INSTALLED) ## Measure the server beside FastAPI and serving frameworks
	@exec python -m tests.benchmarks $(OPTIONS)

.PHONY: bench-quick
bench-quick: $(INSTALLED) ## The same in some minutes: rough figures, FastAPI only
	@exec python -m tests.benchmarks --quick $(OPTIONS)

.PHONY: soak
soak: $(INSTALLED) ## Use a server for 30 minutes and see whether it grows (OPTIONS="--minutes 3")
	@exec python -m tests.reliability soak $(OPTIONS)

.PHONY: chaos
chaos: $(INSTALLED) ## Kill 40 processes of each kind under load (OPTIONS="--kills 5 --seed 1")
	@exec python -m tests.reliability chaos $(OPTIONS)

.PHONY: clean
clean: ## Remove .venv, .bench, builds and caches
	@rm -rf .venv .bench .pot dist .demo jupyter_mlsvc/labextension jupyter_mlsvc/widgets/static
	@rm -rf server_ext/*/api/static
	@rm -rf $(DOCS)/_build $(DOCS)/tutorials/*.ipynb
	@rm -rf labextension/{node_modules,lib,coverage,.yarn,tsconfig.tsbuildinfo}
	@rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .coverage*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
