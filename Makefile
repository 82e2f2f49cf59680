# Joules per Token. Every target is a few visible commands; README.md lists them for those without make.
#   make book    everything a reader needs: environment, model, a first metered run, the built book
#   make lab     open JupyterLab on the labs
#   make test    all tests, every lab run by nbval included
#   make check   the fast gate: lint, types, stale notebooks, links, citations, spelling
# TORCH=cpu takes the small CPU build of torch on Linux machines without an NVIDIA GPU.

SHELL := /bin/sh
.DELETE_ON_ERROR:
.PHONY: book lab labs test check records record gpu bench clean

VENV ?= .venv
BIN := $(VENV)/bin
ENV := $(VENV)/.complete
EXTRAS ?= labs,book,test,dev
NOTEBOOKS := $(wildcard labs/*.ipynb book/*/*.ipynb)
JOBS ?= 2
TORCH ?= default
CPU_INDEX := https://download.pytorch.org/whl/cpu
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13 python; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)

book: $(ENV)
	$(BIN)/greenkit fetch
	$(BIN)/python -m greenkit.authoring.first_result _build/live
	$(BIN)/jupyter-book build . --all -W --keep-going -n --quiet
	@echo "The book is in _build/html/index.html; open it in a browser: file://$(CURDIR)/_build/html/index.html"
	@echo "Next: make lab"

lab: $(ENV)
	$(BIN)/jupyter lab --notebook-dir=labs

test: $(ENV)
	$(BIN)/pytest -n $(JOBS) tests
	TQDM_DISABLE=1 GREENKIT_EXAMPLE_PREDICTIONS=1 $(BIN)/pytest --nbval --nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout=300 $(NOTEBOOKS)

check: $(ENV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m greenkit.authoring.notebooks --check $(NOTEBOOKS)
	$(BIN)/pytest tests/book/test_sources.py
	$(BIN)/codespell book labs greenkit tests README.md

# Run the notebooks anew and write their outputs (authors).
labs: $(ENV)
	$(BIN)/python -m greenkit.authoring.notebooks --execute $(NOTEBOOKS)

# What reference runs exist, which results are stale, and which recorded claims hold.
records: $(ENV)
	$(BIN)/python -m greenkit.authoring.records

# Record every lab on this machine into labs/reference.
record: $(ENV)
	for lab in labs/[0-9]*.ipynb; do $(BIN)/greenkit record $$lab --full || exit 1; done

# All that a GPU is needed for: its tests, the meter's check, then a full record of every lab.
gpu: $(ENV)
	$(BIN)/python -m greenkit.authoring.gpu

bench: $(ENV)
	$(BIN)/pip install -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks

clean:
	rm -rf _build

$(ENV): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is missing: install one, or name it: make book PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt $(if $(filter cpu,$(TORCH)),--extra-index-url $(CPU_INDEX)) torch
	$(BIN)/python -m pip install -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@
