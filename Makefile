# make run            a Squid on 127.0.0.1:3128 that blocks sample indicators
# make refresh-rules  read the sources again (CONFIG=/etc/inkgate/inkgate.toml for a real one)
# make check          linters, types and the fast tests: before each commit, under 3 minutes
# make test           all tests, under 20 minutes
# make trials         what takes longer; goes on where it was interrupted (EVENTS=FOLDER)
# make bench          all benchmarks, peers installed from Debian
# make bench QUICK=1  each of them once and small, under 10 minutes
# make lint           linters and types alone
# make hooks          have git run the linters before each commit (pre-commit)
# make screenshots    the pictures in docs/images (needs chromium, libnss3-tools)
# make lock           the newest versions into locks/ (needs uv)
# make clean          remove all that was made here
PORT ?= 3128
CONFIG ?= .inkgate/trial/inkgate.toml
BIN = .inkgate/venv/bin

# Tests wait more than they compute, so one more than there are processors run at a time.
WORKERS ?= $(shell expr $$(nproc) + 1)
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: run help refresh-rules check test trials bench lint hooks screenshots clean lock \
	install install-dev install-bench

run: install
	@exec $(BIN)/inkgate-squid-conf run --state .inkgate/trial --port $(PORT)

help:
	@sed -n 's/^# \(make\)/\1/p' Makefile

refresh-rules: install
	@$(BIN)/inkgate-rules --config $(CONFIG) refresh

check: lint
	$(PYTEST) -q --durations=5 --durations-min=2 -m "not slow and not e2e" tests

test: install-dev
	$(PYTEST) tests

trials: install-dev
	@$(BIN)/python tests/trials/run.py $(if $(EVENTS),--events $(EVENTS))

screenshots: install-dev
	INKGATE_SCREENSHOTS=docs/images $(BIN)/python -m pytest -q tests/e2e/test_chromium.py

bench: install-bench
	@for program in bench/*.py; do \
		echo "== $$program"; $(BIN)/python $$program $(if $(QUICK),--quick) || exit 1; \
	done

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports

hooks: install-dev
	$(BIN)/pre-commit install

install:
	@tools/bootstrap.sh run

install-dev:
	@tools/bootstrap.sh dev

install-bench:
	@tools/bootstrap.sh bench

# Versions and hashes, one file a role: what is in several files has one version in all.
COMPILE = uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11
ROLES = icap drain match publisher stix report aggregation audit all
lock:
	$(COMPILE) locks/build.in -o locks/build.txt
	$(COMPILE) --extra dev pyproject.toml -o locks/dev.txt
	$(COMPILE) -c locks/dev.txt pyproject.toml -o locks/base.txt
	for role in $(ROLES); do \
		$(COMPILE) -c locks/dev.txt --extra $$role pyproject.toml -o locks/$$role.txt || exit 1; \
	done

clean:
	rm -rf "$$(readlink -f .inkgate)" .inkgate .mypy_cache .pytest_cache .ruff_cache \
		.import_linter_cache .hypothesis dist
