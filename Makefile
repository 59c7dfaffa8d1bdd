# Everything that people and CI do here. Needs make and Python 3.11 or newer, nothing else: `make run` and `make test`
# set themselves up in .venv, and start at once when that already fits the lock files.

HOST ?= 127.0.0.1
PORT ?= 8000
PYTHON ?=
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python

# Where this is set, each of a test run's processes would compile all of its modules anew: to collect the tests takes 12.5 s instead of 6.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup run test proof pooled crash chaos simulate page clients monitoring check bench bench-growth bench-knee bench-unauthenticated demo migrate lock audit clean runtime dev

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' Makefile

setup: dev ## Prepare .venv for everything below (each does so itself)

run: runtime ## Serve on HOST and PORT (127.0.0.1:8000); DATABASE_URL says where sagas are kept
	@exec $(PY) -m app serve --host "$(HOST)" --port "$(PORT)" $(ARGS)

demo: runtime ## Show twenty checkouts of which three in ten steps fail
	@exec $(PY) -m app demo $(ARGS)

migrate: runtime ## Bring DATABASE_URL's schema up to date
	@exec $(PY) -m app migrate

test: dev ## Run every kind of test on every database; with ARGS, for example ARGS="tests/unit -k decide -n0"
	@exec $(PY) -m pytest -n auto --dist loadgroup -m "not proof" $(ARGS)

proof: dev ## Run what make test samples, as a whole, and the page's tests; measure what the tests reach (half an hour on two cores)
	@exec $(PY) -m tests.proof $(ARGS)

pooled: dev ## Run the storage's tests through a PgBouncer in transaction mode (TEST_PGBOUNCER or PATH, 1.21 or newer)
	@$(PY) -m tests.pgbouncer
	@exec $(PY) -m pytest -n auto --dist loadgroup -k pooled tests/contract tests/unit/storage $(ARGS)

chaos: dev ## Kill, freeze and restart real processes under 3,000 sagas, and judge what is left (5 minutes)
	@exec $(PY) -m tests.chaos $(ARGS)

crash: dev ## Crash at every boundary, in every way, and print the figures
	@exec $(PY) -m tests.crash $(ARGS)

simulate: dev ## Run 100,000 seeds of the simulation; with ARGS, for example ARGS="--seed 2565 --trace"
	@exec $(PY) -m tests.simulation --seeds 100000 --jobs 2 $(ARGS)

page: dev ## Test the page in a real Chromium, and take the screenshots of docs/screenshots anew
	@$(PY) -m pytest -n0 tests/page $(ARGS)
	@exec $(PY) -m tests.page

clients: dev ## Lint the API's description and use a TypeScript client of it (needs node and npm)
	@exec $(PY) -m tests.clients

monitoring: ## Check the alerts and run their tests (needs promtool)
	@command -v promtool >/dev/null || { echo 'make monitoring needs promtool: it comes with Prometheus.'; exit 1; }
	@cd docs/monitoring && promtool check rules alerts.yml && promtool test rules alerts_test.yml

check: dev ## Check style, types, imports and dependencies
	@$(PY) -m ruff check --quiet --output-format concise .
	@$(PY) -m ruff format --check --quiet . || { echo 'Unformatted: run $(PY) -m ruff format'; exit 1; }
	@$(PY) -m mypy --no-error-summary app tests
	@$(PY) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' --no-logo
	@$(PY) -m deptry .
	@if [ -f Dockerfile ]; then $(VENV)/bin/hadolint Dockerfile; fi

bench: dev ## Measure checkouts per second on this machine
	@exec $(PY) -m tests.bench $(ARGS)

bench-growth: dev ## Measure what grown tables cost: 5,000,000 sagas, 100,000 unfinished (12 minutes, 20 GB)
	@exec $(PY) -m tests.bench.growth $(ARGS)

bench-knee: dev ## Offer this machine more than it can do, up to five times, and judge what becomes of it (2 minutes)
	@exec $(PY) -m tests.bench.knee $(ARGS)

bench-unauthenticated: dev ## Measure what those without a key cost the others' checkouts (6 minutes)
	@exec $(PY) -m tests.bench.unauthenticated $(ARGS)

audit: dev ## Look the locked packages up for known vulnerabilities (needs the network)
	@$(PY) -m pip_audit --require-hashes --disable-pip -r requirements-image.lock

lock: ## Renew the lock files from pyproject.toml, with ARGS=--upgrade to the newest (needs uv and the network)
	@command -v uv >/dev/null || { echo 'make lock needs uv: pip install uv'; exit 1; }
	@$(call compile,-o requirements.lock)
	@$(call compile,--extra traces -c requirements.lock -o requirements-image.lock)
	@$(call compile,--group dev -c requirements.lock -o requirements-dev.lock)
	@$(call compile,--group clients -c requirements-dev.lock -o requirements-clients.lock)

clean: ## Remove .venv and what tools leave behind; databases stay
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis .cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

runtime:
	@$(call install,requirements.lock)

# The generator of clients wants an older typer than the service: it is installed beside that, and only its library is used.
dev:
	@$(call install,requirements-dev.lock)
	@cmp -s requirements-clients.lock $(VENV)/requirements-clients.lock || { \
		$(PY) -m pip install --quiet --quiet --disable-pip-version-check --no-input --require-hashes --no-deps \
			-r requirements-clients.lock && cp requirements-clients.lock $(VENV)/requirements-clients.lock; }

compile = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(ARGS) $(1)

# A copy of the lock file in .venv says what is installed there. The development lock contains the runtime lock.
define install
set -eu; wanted=$(1); \
if ! $(PY) -c 'import pip' 2>/dev/null; then \
	found=; \
	for python in "$(PYTHON)" python3 python3.13 python3.12 python3.11; do \
		if [ -n "$$python" ] && "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			found=$$python; \
			if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then break; fi; \
		fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo 'This needs Python 3.11 or newer: install it, or say where it is with make PYTHON=/path/to/python3.' >&2; exit 1; \
	fi; \
	"$$found" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$$found has no venv module: install it (on Debian and Ubuntu: apt-get install python3-venv)." >&2; exit 1; }; \
	echo "Setting up $(VENV) with $$($$found --version)"; \
	rm -rf $(VENV); "$$found" -m venv $(VENV); \
fi; \
if ! cmp -s $$wanted $(VENV)/$$wanted && \
	! { [ $$wanted = requirements.lock ] && cmp -s requirements-dev.lock $(VENV)/requirements-dev.lock; }; then \
	echo "Installing $$wanted (once)"; \
	rm -f $(VENV)/*.lock; \
	$(PY) -m pip install --quiet --quiet --disable-pip-version-check --no-input --require-hashes -r $$wanted; \
	cp $$wanted $(VENV)/$$wanted; \
fi; \
[ -x $(VENV)/bin/checkout ] || { \
	printf '#!/bin/sh\ncd "%s" && exec $(PY) -m app "$$@"\n' "$$PWD" > $(VENV)/bin/checkout; \
	chmod +x $(VENV)/bin/checkout; }
endef
