# `make compare` and `make test` set up what they need and then run; everything lives in .venv, with the versions of constraints.txt.
#
#   PYTHON=python3.12            the interpreter .venv is made from (the pins are tested with 3.11; newer ones should do)
#   VENV=.venv                   where the environment lives
#   TORCH_INDEX=URL              a further package index, e.g. https://download.pytorch.org/whl/cpu for torch without CUDA
#   ARGS="--backend both"        handed on to `scalemix compare` or to pytest

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
TORCH_INDEX ?=
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	"$$p" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt \
	$(if $(TORCH_INDEX),--extra-index-url "$(TORCH_INDEX)") --editable
PYTEST = $(BIN)/pytest --numprocesses 2 --dist worksteal

# A second Python, in which ArviZ is 1.x (it needs 3.12) and torch is not.
PYTHON_NEW ?= $(shell for p in python3.14 python3.13 python3.12 $(wildcard $(HOME)/.pyenv/versions/3.1[2-9]*/bin/python); do \
	"$$p" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

.PHONY: help compare test test-slow test-gpu test-arviz test-notebooks python-new notebooks lint docs format env clean distclean

help:
	@echo "make compare     set up what the comparison needs (NumPyro, no torch) and run it; results under results/compare/"
	@echo "make test        set everything up and run the fast tests"
	@echo "make test-slow   the slow tests; the log goes to tests/slow.log, which is committed"
	@echo "make test-arviz  what ArviZ 1.x makes of our posteriors, in a second Python (3.12 or later) without torch"
	@echo "make test-notebooks   the notebooks at small size, with what they conclude"
	@echo "make notebooks   run the notebooks at full size and keep their outputs"
	@echo "make test-gpu    every model on a GPU, in both languages; ARGS=\"--device cpu\" runs the same on the CPU"
	@echo "make lint        ruff and pyright"
	@echo "make docs        the reference out of the docstrings, one page a module, in build/reference/; a warning is an error"
	@echo "make format      let ruff reformat and fix what it can"
	@echo "make env         set everything up"
	@echo "make clean       remove builds and caches        make distclean   ... and $(VENV)"

compare: $(VENV)/.compare
	@$(BIN)/scalemix compare $(ARGS)

test: $(VENV)/.test
	@$(PYTEST) --durations 10 $(ARGS)

test-slow: $(VENV)/.test
	@set -o pipefail; $(PYTEST) -m slow --verbose --no-header --durations 20 $(ARGS) 2>&1 | sed "s#$(CURDIR)/##g" | tee tests/slow.log

test-notebooks: $(VENV)/.test
	@$(PYTEST) -m slow tests/test_notebooks.py --durations 0 $(ARGS)

python-new:
	@echo "$(PYTHON_NEW)"

test-arviz:
	@test -n "$(PYTHON_NEW)" || { echo "ArviZ 1.x needs Python 3.12 or later, and none was found: name one, make test-arviz PYTHON_NEW=/path/to/python3.12" >&2; exit 1; }
	@test -e $(VENV)-arviz/.made || { echo "making $(VENV)-arviz with $$($(PYTHON_NEW) --version)"; \
		$(PYTHON_NEW) -m venv --clear $(VENV)-arviz && grep -v "^arviz" constraints.txt > $(VENV)-arviz/constraints.txt && \
		$(VENV)-arviz/bin/python -m pip install -qq --disable-pip-version-check --constraint $(VENV)-arviz/constraints.txt \
			"arviz>=1" pytest --editable '.[numpyro,plots]' && touch $(VENV)-arviz/.made; }
	@$(VENV)-arviz/bin/pytest -m slow tests/test_arviz.py $(ARGS)

notebooks: $(VENV)/.test
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[all,notebooks]'
	@$(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.timeout=-1 $(or $(ARGS),notebooks/*.ipynb)
# One process: two would share the one GPU's memory. The two variables keep the tests' own settings, which are for the CPU, away.
test-gpu: $(VENV)/.test
	@JAX_PLATFORMS= XLA_FLAGS= $(BIN)/pytest tests/test_gpu.py -m gpu -ra $(ARGS)

# The three source folders as the one package they are in the wheel: what pyright reads.
lint: $(VENV)/.test
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/ruff format --quiet --check . || { $(BIN)/ruff format --check . | grep "^Would" ; echo "make format mends this"; exit 1; }
	@rm -rf build/tree && mkdir -p build/tree/scalemix
	@ln -s "$(CURDIR)"/src/scalemix/* "$(CURDIR)"/models "$(CURDIR)"/inference build/tree/scalemix/
	@$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/.test
	@$(BIN)/python -W error docs/reference.py build/reference
	@echo "the reference is in build/reference/index.html"

format: $(VENV)/.test
	@$(BIN)/ruff check --quiet --fix --exit-zero .
	@$(BIN)/ruff format .

env: $(VENV)/.test

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or later with venv was found: install one (Debian, Ubuntu: apt install python3 python3-venv)" \
		"or name it, make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.compare: pyproject.toml constraints.txt | $(VENV)/.created
	@echo "installing the comparison into $(VENV) (about two minutes the first time)"
	@$(INSTALL) '.[compare,numpyro,plots]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/.created
	@echo "installing everything into $(VENV) (about four minutes the first time)"
	@$(INSTALL) '.[all,test]'
	@touch $(VENV)/.compare $@

clean:
	@rm -rf build dist src/*.egg-info .pytest_cache .ruff_cache
	@find src models inference tests benchmarks notebooks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean
	@rm -rf $(VENV) $(VENV)-arviz
