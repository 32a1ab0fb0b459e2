# make run            a Squid on 127.0.0.1:3128 that blocks sample indicators
# make test           all tests
# make screenshots    the pictures in docs/images (needs chromium, libnss3-tools)
# make refresh-rules  read the sources again (CONFIG=/etc/inkgate/inkgate.toml for a real one)
PORT ?= 3128
CONFIG ?= .inkgate/trial/inkgate.toml
BIN = .inkgate/venv/bin

.PHONY: run test refresh-rules bench lint clean lock install install-dev install-bench screenshots

run: install
	@exec $(BIN)/inkgate-squid-conf run --state .inkgate/trial --port $(PORT)

refresh-rules: install
	@$(BIN)/inkgate-rules --config $(CONFIG) refresh

test: install-dev
	$(BIN)/python -m pytest -n auto tests

screenshots: install-dev
	INKGATE_SCREENSHOTS=docs/images $(BIN)/python -m pytest -q tests/e2e/test_chromium.py

bench: install-bench
	@for program in bench/*.py; do echo "== $$program"; $(BIN)/python $$program || exit 1; done

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

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
	rm -rf "$$(readlink -f .inkgate)" .inkgate .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
