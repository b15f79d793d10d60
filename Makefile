# Everything is done in the virtualenv .venv, which each target brings up to date first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= $(shell for candidate in python3.11 python3 python; do \
	"$$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$candidate && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.up-to-date
STACK := $(BIN)/python -m deploy.local

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

$(STAMP): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then
		echo "Python 3.11 was not found. Install it (the command python3.11), or name it: make PYTHON=/path/to/python3.11 ..." >&2
		exit 1
	fi
	if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
		echo "creating the virtualenv $(VENV)"
		rm -rf $(VENV)
		$(PYTHON) -m venv $(VENV)
	fi
	echo "installing the packages of requirements.lock into $(VENV) (some minutes the first time)"
	head -1 requirements.lock | grep -q '^setuptools==' && $(BIN)/python -m pip install --quiet "$$(head -1 requirements.lock)"
	$(BIN)/python -m pip install --no-build-isolation --progress-bar on -r requirements.lock | grep --line-buffered -vE '^Requirement already satisfied'  || [ "$${PIPESTATUS[0]}" -eq 0 ]
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps -e .
	touch $(STAMP)

.PHONY: setup
setup: $(STAMP) ## create .venv or bring it up to date

.PHONY: up
up: $(STAMP) ## start or repair the local stack (STACK_JOB=none: without the job)
	@$(STACK) up

.PHONY: down
down: $(STAMP) ## stop the local stack; data and state are kept
	@$(STACK) down

.PHONY: status
status: $(STAMP) ## show what runs, where, and how much memory it takes
	@$(STACK) status

.PHONY: demo
demo: $(STAMP) ## real data through the whole stack, explained step by step
	@$(BIN)/reweigh demo

.PHONY: check
check: $(STAMP) ## format, lint, types, architecture: seconds, no servers
	@$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/architecture -q

.PHONY: test
test: check ## everything above and every test, on real servers
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

.PHONY: bench
bench: $(STAMP) ## the benchmarks
	@$(BIN)/python -m bench

.PHONY: faults
faults: $(STAMP) ## the fault matrix: everything that may break is broken, and the whole of Redis compared
	@$(BIN)/python -m faults $(ROWS)

.PHONY: alerts
alerts: $(STAMP) ## broker and Redis paused, bad weights: three alerts seen firing in a real Prometheus (some minutes)
	@$(BIN)/python -m pytest -n 0 --timeout 1800 tests/grafana/provoked_alerts.py

.PHONY: cluster
cluster: $(STAMP) ## everything on a Redis Cluster, a replay there that is killed in its exchange, and behind Sentinel (some minutes)
	@$(BIN)/python -m pytest -n 0 --timeout 1800 tests/redisaccess/replay_on_a_cluster.py tests/redisaccess/whole_behind_sentinel.py

.PHONY: format
format: $(STAMP) ## format and fix what can be fixed by itself
	@$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: clean
clean: ## stop the local stack and remove its data, state and all caches
	@if [ -x $(BIN)/python ] && $(BIN)/python -c 'import psutil' 2>/dev/null; then $(STACK) clean; fi
	rm -rf .local .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## clean, and remove .venv too
	@rm -rf $(VENV) *.egg-info
