# `make demo` and `make test` need Python 3.11 or newer, git and make: nothing else.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Most tests wait for processes and sockets. Those of one file stay in one worker, and in their order.
WORKERS ?= -n 3 --dist loadfile

.PHONY: help demo test check faults chaos scale-proof bridge-kills events-storm bench bench-long bench-events bench-smoke redis-server promtool chromium requirements picture screenshot clean

help:            ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.run   ## see it work: embedded Valkey, local Alpaca, broker and a scale_t, in one live table
	@$(BIN)/python -m main demo $(ARGS)

test: $(VENV)/.dev redis-server promtool chromium  ## the whole suite
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

check: $(VENV)/.dev  ## ruff, mypy --strict, import rules and the unit tests, in under a minute
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 tests/unit

faults: $(VENV)/.dev  ## every fault of docs/reliability.md against real processes, some 20 minutes
	$(BIN)/python -m tests.faults.run --into docs/reliability.md $(ARGS)

chaos: $(VENV)/.dev   ## a seeded mixture of faults: make chaos SECONDS=600 SEED=1
	$(BIN)/python -m tests.faults.chaos --seconds $(or $(SECONDS),600) --seed $(or $(SEED),1) $(ARGS)

bridge-kills: $(VENV)/.dev  ## kill the events bridge 20 times during 10,000 orders, and count every event
	$(BIN)/python -m tests.integration.events_bridge.kills $(ARGS)

events-storm: $(VENV)/.dev  ## 16 publishers and 16 readers of trade events for 60 s, Redis killed twice
	$(BIN)/python -m tests.integration.trade_events.storm $(ARGS)

scale-proof: $(VENV)/.dev  ## scale_t for ten simulated minutes, undisturbed and then killed, split, halted: some 8 minutes
	$(BIN)/python -m pytest -s tests/integration/scale_t/proof_long.py

bench: $(VENV)/.bench  ## rates, latency and all that was promised, beside peers and limits, in under 10 minutes
	$(BIN)/python -m bench $(ARGS)

bench-long: $(VENV)/.bench  ## a ten-fold burst for 60 s, and how long it takes to be over it
	$(BIN)/python -m bench.burst

profile: $(VENV)/.bench  ## where the broker's time goes at full speed, by py-spy: make profile ARGS=10
	$(BIN)/python -m bench.profile $(ARGS)

bench-events: $(VENV)/.bench  ## the trade event bus beside bare PUBLISH and the same commands without it
	$(BIN)/python -m bench.events $(ARGS)

bench-smoke: $(VENV)/.dev  ## dead time of 500 registration restarts, idle CPU, memory with 1,000 tickers
	$(BIN)/python -m bench.smoke

redis-server:    ## install Debian's redis-server, for the tests of TLS, where it is missing and we may
	@tools/install_redis_server.sh

promtool: $(VENV)/.dev  ## unpack Debian's promtool, for the tests of figures and alert rules, where it is missing
	@tools/get_promtool.sh $(BIN)

chromium:        ## install Debian's chromium, for the page's browser tests, where it is missing and we may
	@tools/install_chromium.sh

requirements: $(VENV)/.dev  ## write requirements.txt from pyproject.toml
	$(BIN)/python -m tools.requirements

picture: $(VENV)/.dev  ## draw docs/demo.svg from a real run of the demo
	$(BIN)/python -m tools.picture

screenshot: $(VENV)/.dev chromium  ## take docs/dashboard.png from a real run of the page, in six minutes
	$(BIN)/python -m tools.screenshot

clean:           ## remove the virtual environment and every cache
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "TickerBus needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing what it needs into $(VENV): a minute or two, the first time only"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dashboard]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing what the tests need into $(VENV): some minutes, the first time only"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.run

$(VENV)/.bench: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing what the benchmark needs into $(VENV): some minutes, the first time only"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	@touch $@ $(VENV)/.dev $(VENV)/.run
