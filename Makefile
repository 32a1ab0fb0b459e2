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

lock:
	uv pip compile -q --universal --generate-hashes --no-header \
		--python-version 3.11 locks/build.in -o locks/build.txt
	uv pip compile -q --universal --generate-hashes --no-header \
		--python-version 3.11 pyproject.toml -o locks/runtime.txt
	uv pip compile -q --universal --generate-hashes --no-header \
		--python-version 3.11 --extra dev -c locks/runtime.txt pyproject.toml -o locks/dev.txt

clean:
	rm -rf "$$(readlink -f .inkgate)" .inkgate .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
