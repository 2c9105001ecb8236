# `make run` and `make test` need Python 3.11 or newer (with venv) and make; they fetch the rest once, by hash.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --require-hashes --no-deps --only-binary :all: --no-compile
# The tests' processes; each has a PostgreSQL of its own.
JOBS ?= auto

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test check format lint types contracts test-postgres docs seeded-bugs bench bench-ledger list-timings \
	simulate attack fuzz-api lock clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.runtime  ## Build .venv with what the gateway needs

setup-dev: $(VENV)/.dev  ## Add what tests and checks need

run: $(VENV)/.runtime  ## Start everything with a demo organisation and print how to call it
	@$(BIN)/tollgate serve --demo --config config/tollgate.toml

test: $(VENV)/.dev sdk-envs server-envs  ## Run all tests on the PostgreSQL that .venv brings
	env -u PG_BIN $(BIN)/python -m pytest -n $(JOBS)

check: lint types contracts test test-postgres  ## All that must be green: lint, types, contracts, tests

format: $(VENV)/.dev  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.dev  ## Check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev  ## Check types
	$(BIN)/mypy

contracts: $(VENV)/.dev  ## Check which room imports which
	$(BIN)/lint-imports

test-postgres: $(VENV)/.dev  ## Run the database's tests on the PostgreSQL in $PG_BIN, if that is set
	@if [ -n "$$PG_BIN" ]; then \
		set -x; $(BIN)/python -m pytest -n $(JOBS) $(wildcard tests/postgres tests/ledger tests/identity tests/usage); \
	else \
		echo "PG_BIN is not set: the database's tests ran on the PostgreSQL of .venv alone"; \
	fi

docs: $(VENV)/.runtime  ## Write docs/access.md anew, from the endpoints and the rights that they need
	$(BIN)/python -m gateway.edge.api.rights_table > docs/access.md

seeded-bugs: $(VENV)/.dev  ## Put bugs into a copy of the ledger and see which test catches each; ONLY=name for one
	$(BIN)/python -m tests.ledger.seeded_bugs $(if $(ONLY),--only $(ONLY))

bench: $(VENV)/.dev  ## Compare with nginx on the same mock provider
	$(BIN)/python -m tests.bench.run $(BENCH)

bench-ledger: $(VENV)/.dev  ## Measure the ledger: rate, waits, bytes, steadiness
	$(BIN)/python -m tests.bench.ledger $(BENCH)

list-timings: $(VENV)/.dev  ## Ask for every list on a ledger of a million rows; fails where one is slow or reads too much
	$(BIN)/python -m tests.bench.list_timings $(BENCH)

simulate: $(VENV)/.dev  ## Two gateways under load, with everything killed, cut and stalled: SECONDS=600 SEED=…
	@$(BIN)/python -m tests.simulation.run --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED)) $(SIMULATE)

attack: $(VENV)/.runtime  ## Try known cheats and faults on a gateway started for it, or on the one in ATTACK="--url …"
	@$(BIN)/tollgate attack $(ATTACK)

fuzz-api: $(VENV)/.dev  ## Ask /api what its OpenAPI document allows, and what it does not: EXAMPLES=100 SEED=…
	FUZZ_EXAMPLES=$(or $(EXAMPLES),100) FUZZ_SEED=$(or $(SEED),4) \
		$(BIN)/python -m pytest -n $(JOBS) -rP tests/e2e/test_openapi.py

lock: $(VENV)/.dev  ## Resolve the dependencies anew for every supported Python
	$(BIN)/python -m uv pip compile $(LOCK) -o requirements.lock pyproject.toml
	$(BIN)/python -m uv pip compile $(LOCK) -o requirements-dev.lock --group dev -c requirements.lock pyproject.toml
	for sdk in $(PYTHON_SDKS) node; do \
		$(BIN)/python -m uv pip compile $(LOCK) -o tests/sdks/$$sdk.lock tests/sdks/$$sdk.in; done
	$(BIN)/python -m uv pip compile $(LOCK) -o tests/servers/llama-cpp.lock tests/servers/llama-cpp.in

LOCK := --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url \
	--no-emit-find-links --no-config --quiet

clean:  ## Remove .venv and what tools left
	rm -rf $(VENV) .envs tests/sdks/node/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# --- .venv, by stamps: a second run takes no time -------------------------------------------------------------------

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "Tollgate needs Python 3.11 or newer, which is not on PATH."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		v=$$($(PYTHON) -c 'import sys; print("python%d.%d" % sys.version_info[:2])'); \
		echo "$$v lacks venv. On Debian and Ubuntu: apt-get install $$v-venv"; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)

# The package is used where it lies: nothing is built, so nothing is fetched for a build.
$(VENV)/.runtime: requirements.lock | $(BIN)/python
	@echo "Installing what the gateway needs"
	@$(PIP) -r requirements.lock
	@$(BIN)/python -c 'import pathlib, sys, sysconfig; \
		pathlib.Path(sysconfig.get_path("purelib"), "tollgate.pth").write_text(sys.argv[1] + "\n")' "$(CURDIR)"
	@printf '#!/bin/sh\nexec "$$(dirname "$$0")/python" -m gateway "$$@"\n' > $(BIN)/tollgate
	@chmod +x $(BIN)/tollgate
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing what tests and checks need"
	@$(PIP) -r requirements-dev.lock
	@touch $@

include tests/sdks/sdks.mk
