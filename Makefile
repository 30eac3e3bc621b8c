PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# The lists are complete. Without --no-deps an older pip, such as Python 3.11's, may look for the newest release of a package
# that another one asks for with an extra, and then refuse it as not pinned (pypa/pip #12345).
INSTALL := $(PIP) install --no-deps --require-hashes --requirement
COMPILE := $(BIN)/uv --quiet pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-header --upgrade

.PHONY: help demo test check format bench soak lock clean

help: ## list what there is to make
	@grep -E '^[a-z]+:.*## ' Makefile | sed 's/:.*## /\t/'

demo: $(VENV)/ready ## talk to the real bot, with stand-ins for Telegram and Ryze on loopback
	@$(BIN)/python -m tests.sandbox.demo

test: $(VENV)/ready-dev ## run every test, with branch coverage
	$(BIN)/python -m pytest --numprocesses 6 --dist worksteal --cov

check: $(VENV)/ready-dev ## ruff, ruff format, mypy --strict, and which room may import which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/ready-dev ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/ready-dev ## measure the bot beside the plainest programs that do the same (about an hour)
	$(BIN)/python -m tests.bench

soak: $(VENV)/ready-dev ## minutes of mixed traffic with faults to order; nothing may be lost or wrong
	$(BIN)/python -m tests.soak

lock: $(VENV)/ready-dev ## pin the newest versions that pyproject.toml allows, with hashes
	$(COMPILE) --extra postgres --output-file requirements.txt
	$(COMPILE) --extra postgres --group dev --output-file requirements-dev.txt

clean: ## remove what the other targets made
	rm -rf $(VENV) .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build *.egg-info

$(VENV)/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, and $(PYTHON) is " + sys.version.split()[0] + "; name another with: make PYTHON=python3.12 …")'
	@echo "Making $(VENV) and installing what the bot needs; the first time this takes a minute …"
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) requirements.txt
	$(PIP) check
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements-dev.txt
	$(INSTALL) requirements-dev.txt
	$(PIP) check
	@touch $@
