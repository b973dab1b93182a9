# Needs only Python 3.11+ and make. Everything is installed into .venv on first use.
#
#   make test PYTHON=python3.12     another interpreter, where python3 is too old
#   rm -rf .venv                    start afresh

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# One stamp per extra, written only after its installation has succeeded.
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev
NOTEBOOKS := $(VENV)/.installed-notebooks
CLIENTS := $(VENV)/.installed-clients
DOCS := $(VENV)/.installed-docs

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo clients test test-all golden support rules lint types check bench notebooks docs clean venv

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F '|' '{ printf "%-18s %s\n", $$1, $$2 }'

demo: $(DEMO) ## see symgrad at work
	$(BIN)/symgrad demo

test: $(DEV) ## run the tests, without the slow ones
	$(BIN)/python -m pytest -n 2

test-all: $(DEV) ## run all tests
	$(BIN)/python -m pytest -n 2 -m ''

golden: $(DEV) ## rewrite tests/golden, derivatives as text
	cd tests && ../$(BIN)/python -m golden

support: $(DEV) ## rewrite docs/support.md, the table of what is supported
	$(BIN)/python tests/sweep.py

rules: $(DEV) ## verify every rule, rewrite docs/rules.md
	$(BIN)/python tests/verification.py

clients: $(CLIENTS) ## install the libraries whose programs the tests then run too

lint: $(DEV) ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV) ## check types
	$(BIN)/pyright

check: lint types test ## all that a change must pass

bench: $(DEV) ## measure; pass options with ARGS='...'
	$(BIN)/python -m benchmarks $(ARGS)

notebooks: $(NOTEBOOKS) ## execute every notebook
	$(BIN)/python -m pytest --nbmake notebooks

docs: $(DOCS) ## build the pages: build/docs/docs/index.html
	$(BIN)/python -m sphinx -c docs -W --keep-going --nitpicky --quiet . build/docs

clean: ## remove caches and build outputs, keep .venv
	rm -rf build dist demo_output *.egg-info .hypothesis .pytest_cache .ruff_cache
	find . -path './$(VENV)' -prune -o -name __pycache__ -prune -exec rm -rf {} +

# Installing

INPUTS := pyproject.toml constraints.txt
COMMA := ,

# $(call install,EXTRA)
define install
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(MAKE) --no-print-directory venv
	@echo 'Installing symgrad[$1] into $(VENV); the first time takes a few minutes.'
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$1]'
endef

$(DEMO): $(INPUTS)
	$(call install,demo)
	@touch $@

# dev and notebooks contain demo, so after them `make demo` has nothing to install.
$(DEV): $(INPUTS)
	$(call install,dev)
	@touch $(DEMO) $@

$(NOTEBOOKS): $(INPUTS)
	$(call install,notebooks)
	@touch $(DEMO) $@

$(DOCS): $(INPUTS)
	$(call install,docs)
	@touch $@

$(CLIENTS): $(INPUTS)
	$(call install,dev$(COMMA)clients)
	@touch $(DEMO) $(DEV) $@

venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "symgrad needs Python 3.11 or newer; '$(PYTHON)' is: $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name a newer one: make PYTHON=python3.12 TARGET" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "'$(PYTHON)' cannot create virtual environments: its venv module is missing." >&2; \
	  echo "Install it (Debian, Ubuntu: apt install python3-venv) and run make again." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
