# Each target makes .venv when it is missing or older than what it is made from.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test test-all lint docs bench release

run: .venv/installed  ## train on the bundled digits, test, and draw the pictures
	$(BIN)/ffrecur fit --config tasks/mnist/bundled.yaml
	$(BIN)/ffrecur test

test: .venv/installed  ## tests and doctests, but for the slow ones; two processes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test-all: .venv/installed  ## the slow tests too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "slow or not slow"

lint: .venv/installed  ## style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/installed  ## the documentation site in site/; a warning or a dead link is an error
	$(BIN)/python scripts/docs/make_site.py

bench: .venv/installed  ## how fast it trains and evaluates
	$(BIN)/python scripts/bench/bench.py

release: lint docs test  ## wheel and sdist in dist/, tried in a fresh environment; all but the upload
	rm -rf build dist
	$(BIN)/python -m build
	$(BIN)/python scripts/release/try_release.py

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt -e '.[dev,docs]'
	touch $@
