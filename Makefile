PYTHON ?= python3
ENVIRONMENT := $(PYTHON) tools/environment.py
export UV_SYSTEM_CERTS := true
# Tests start hundreds of processes. Where a machine forbids to keep what is compiled, each would compile every module anew.
export PYTHONDONTWRITEBYTECODE :=
PYTEST := bin/python -m pytest --numprocesses=logical --maxprocesses=8

# Databases of tests are quicker in memory, where there is room for them.
MEMORY := $(shell test -w /dev/shm && test "$$(df -Pm /dev/shm | awk 'NR == 2 { print $$4 }')" -gt 2000 && echo /dev/shm)

.PHONY: help demo test matrix lint crash chaos engines bench pictures translations rules clean

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

demo: ## run the shop and its dashboard on PORT (5000), in SQLite or DATABASE_URL
	@$(ENVIRONMENT) .venv example
	@exec .venv/bin/python -m example_app.demo

test: export TMPDIR := $(or $(MEMORY),$(TMPDIR),/tmp)
test: lint ## check everything, on SQLite and PostgreSQL, in Chromium, with the newest and the lowest versions
	.venv/$(PYTEST)
	.venv/bin/python tools/matrix.py --short

matrix: export TMPDIR := $(or $(MEMORY),$(TMPDIR),/tmp)
matrix: ## run unit, integration and cli tests on each Python here, with the lowest and newest versions, and each psycopg; WORDS="--only 3.13"
	@$(ENVIRONMENT) .venv dev
	@exec .venv/bin/python tools/matrix.py $(WORDS)

lint: ## check style, types and import rules
	@$(ENVIRONMENT) .venv dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

crash: ## let a process die at every commit, hand-over and effect of every shape of workflow; WORDS="--shape saga"
	@$(ENVIRONMENT) .venv dev
	.venv/bin/python -m tests.crash $(WORDS)

chaos: ## runs under fire: workers killed, PostgreSQL restarted, jobs dropped and doubled; SEED=..., EXECUTOR=queue or procrastinate, WORDS="--runs 500"
	@$(ENVIRONMENT) .venv dev
	.venv/bin/python -m tests.chaos $(if $(SEED),--seed $(SEED)) --executor $(or $(EXECUTOR),database) $(WORDS)

engines: ## try the shop under each executor: smoke, soak and resilience, with worker processes
	@$(ENVIRONMENT) .venv dev
	.venv/bin/python -m pytest -o faulthandler_timeout=0 tests/example/engines.py

bench: ## measure this library, its peers and the limit of the database; writes benchmarks/report.md; WORDS="--only chain,start --quick"
	@$(ENVIRONMENT) .venv-bench bench
	@exec .venv-bench/bin/python -m benchmarks $(WORDS)

pictures: ## take the pictures in docs/images anew
	@$(ENVIRONMENT) .venv dev
	.venv/bin/python tools/pictures.py

translations: ## bring the translations in line with the texts of the pages
	@$(ENVIRONMENT) .venv dev
	.venv/bin/python tools/translations.py

rules: ## write into docs/rules.md which tests hold each rule
	@$(ENVIRONMENT) .venv dev
	.venv/bin/python tools/contract.py

clean: ## remove the environments and what was built
	rm -rf .venv .venv-* dist static/vendor .hypothesis .*_cache
