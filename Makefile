# Two commands for a machine with Python, pip and make:
#   make demo   install, export, serve, predict, bench; ends by itself and leaves the bundles
#   make test   everything that must pass

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Three at a time on two cores: exports work, those with services mostly wait, the others do both.
EXPORTS := $(addprefix tests/,export check demo)
SERVICES := $(addprefix tests/,e2e faults)
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install services browser prometheus redis wrk demo fmt check unit e2e matrix faults soak docs test coverage clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt
	@echo "== installing into $(VENV) (torch included: a minute or two)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --constraint constraints.txt -e '.[export,bench,dev]'
	@touch $@

install: $(INSTALLED)  ## virtual environment with all that is used here

browser:  ## Chromium and its driver, in which the page is tested
	@which chromium chromedriver >/dev/null || { echo "== installing Chromium" && apt-get update -qq \
	&& apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null; } \
	|| { echo "the tests need chromium and chromedriver: install them, as root on Debian: make browser"; exit 1; }

prometheus:  ## Prometheus and promtool, which read what is in deploy/
	@which prometheus promtool >/dev/null || { echo "== installing Prometheus" && apt-get update -qq \
	&& apt-get install -y -qq --no-install-recommends prometheus >/dev/null; } \
	|| { echo "the tests need prometheus and promtool: install them, as root on Debian: make prometheus"; exit 1; }

redis:  ## Redis, in which jobs of many machines are
	@which redis-server >/dev/null || { echo "== installing Redis" && apt-get update -qq \
	&& apt-get install -y -qq --no-install-recommends redis-server >/dev/null; } \
	|| { echo "the tests need redis-server: install it, as root on Debian: make redis"; exit 1; }

wrk:  ## the load generator of the overload tests
	@which wrk >/dev/null || { echo "== installing wrk" && apt-get update -qq \
	&& apt-get install -y -qq --no-install-recommends wrk >/dev/null; } \
	|| echo "the tests of overload need wrk, and are skipped: install it, as root on Debian: make wrk"

demo: $(INSTALLED)  ## the whole path on two small models
	$(BIN)/inferctl demo

fmt: $(INSTALLED)  ## format and repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: $(INSTALLED)  ## lint, types, spelling; changes nothing
	@echo "== ruff, mypy, codespell"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

unit: $(INSTALLED) prometheus redis  ## tests without services
	$(BIN)/pytest -m "not e2e and not matrix and not faults and not soak"

e2e: $(INSTALLED) browser prometheus redis  ## tests against real processes
	$(BIN)/pytest -m "e2e and not matrix and not faults and not soak"

matrix: $(INSTALLED)  ## every kind of checkpoint of every family: docs/matrix.md
	$(BIN)/pytest -m "matrix or not matrix" tests/export/matrix tests/export/huggingface

faults: $(INSTALLED) redis wrk  ## rows of docs/reliability.md that take minutes
	$(BIN)/pytest -m faults

soak: $(INSTALLED)  ## those that take an hour or more
	$(BIN)/pytest -m soak

docs: $(INSTALLED)  ## write what is generated from the code
	$(BIN)/python -m docs.generate

# What fails is run once more: three pytests share the cores, and some wait no longer than a user would.
# The end names those that passed only then; one that is named twice is a defect.
PYTEST = $(BIN)/python -m pytest
TRY = env --default-signal=INT,HUP $(PYTEST) --reruns 1 -raR
services:  # Debian's, one after the other, whatever --jobs says: they share a lock
	@$(MAKE) browser
	@$(MAKE) prometheus
	@$(MAKE) redis

test:  ## everything: lint, types, tests
	@$(MAKE) --jobs 2 install services
	@echo "== tests: those with services; exports and the others beside them, and told of at the end"
	@$(TRY) $(EXPORTS) >.exports.txt 2>&1 & exports=$$!; \
	$(MAKE) check || { kill $$exports; exit 1; }; \
	$(TRY) $(addprefix --ignore=,$(EXPORTS) $(SERVICES)) >.others.txt 2>&1 & others=$$!; \
	$(TRY) $(SERVICES); failed=$$?; \
	wait $$exports || failed=1; wait $$others || failed=1; \
	cat .exports.txt .others.txt; exit $$failed

coverage: $(INSTALLED)  ## the same with branch coverage, which takes half as long again
	$(BIN)/coverage erase
	$(MAKE) test PYTEST="$(BIN)/coverage run -m pytest"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

clean:  ## remove what make and the demo leave
	rm -rf $(VENV) models reports logs state .exports.txt .others.txt .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis
