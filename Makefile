# `make demo`, `make demo-plan` and `make test` need only Python 3.11+ and make. They work from any earlier state of .venv.
#
# PYTHON names the interpreter that .venv is made from: make demo PYTHON=python3.12

SUPPORTED := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c '$(SUPPORTED)' >/dev/null 2>&1 && { echo "$$p"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
METADATA := setup.cfg pyproject.toml

COMPLETE := import pip; from importlib.util import find_spec as f; assert f("torch") and f("torchvision") and f("av")

# A stamp says that an install ended well. It is void when the environment does not run, or was made for
# another folder: pip writes absolute paths into its scripts.
SOUND := $(shell head -n 3 $(BIN)/jepa 2>/dev/null | grep -qF "$(CURDIR)/$(BIN)/python" \
	&& $(BIN)/python -c '$(COMPLETE)' >/dev/null 2>&1 && echo yes)
ifneq ($(SOUND),yes)
$(shell rm -f $(VENV)/.installed*)
endif

.PHONY: help demo demo-plan test check format clean

help:
	@echo "make demo       install into .venv, then run jepa demo"
	@echo "make demo-plan  install into .venv, then run jepa demo --plan"
	@echo "make test       install into .venv with the test extra, then run the tests"
	@echo "make check      format, lint, types and fast tests (as a developer, before a commit)"
	@echo "make format     rewrite the files as 'make check' wants them"
	@echo "make clean      remove .venv, builds and caches"

demo: $(VENV)/.installed
	$(BIN)/jepa demo

demo-plan: $(VENV)/.installed
	$(BIN)/jepa demo --plan

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# No usable stamp: start from an empty environment, since pip trusts what a broken one claims to hold.
$(VENV)/.installed: $(METADATA)
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or later was found on PATH. Install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c '$(SUPPORTED)' || { echo "$(PYTHON) is not Python 3.11 or later. Name another: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: its venv or ensurepip module is missing (on Debian and Ubuntu: apt install python3-venv). Install it, or name another Python: make PYTHON=/path/to/python" >&2; exit 1; }
	@test -e $@ || rm -rf $(VENV)
	@test -e $@ || "$(PYTHON)" -m venv $(VENV)
	$(PIP) install -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) install -e '.[test]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install -e '.[dev]'
	@touch $@ $(VENV)/.installed-test
