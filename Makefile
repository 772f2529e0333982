# Two commands on a bare machine: `make up` runs everything, `make test` proves it.
# They need make and Python 3.11 or newer; the rest they fetch, pinned and hashed.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help up psql test unit fast check lint fix coverage durations bench screenshots steps-sql \
	image containers kustomize venv deps version clean

# All tests run in lanes side by side, some chosen ones in one, which starts no server twice.
PYTEST := .venv/bin/python -m pytest
IN_LANES = $(or $(ARGS),--numprocesses $(LANES) --max-worker-restart 0)
REPORTS := --durations 25 --junitxml .reports/junit.xml
LANES := 3

COMPILE := .venv/bin/python -m uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command 'make deps'

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## run everything here; Ctrl-C stops it, a second run finds its data again
	@sh stack/bootstrap/python.sh stack/bootstrap/environment.py requirements.txt && exec .venv/bin/python -m stack

psql: ## a terminal on the database of a running `make up` (DATA_DIR as there)
	@sh stack/bootstrap/python.sh stack/bootstrap/environment.py requirements.txt && exec .venv/bin/python -m stack.psql $(ARGS)

test: venv ## run all tests on real servers (ARGS="-k name" for some of them)
	@exec $(PYTEST) $(REPORTS) $(IN_LANES)

unit: venv ## run the tests that need no server: seconds
	@exec $(PYTEST) tests/unit tests/test_architecture.py $(ARGS)

fast: venv ## run all tests but the slow ones and those that break servers
	@exec $(PYTEST) $(REPORTS) -m "not slow and not chaos" $(IN_LANES)

check: lint test ## format, lint, types and tests

lint: venv ## check format, lint and types
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m ruff check .
	.venv/bin/python -m mypy .

fix: venv ## format, and correct what the linter can correct
	.venv/bin/python -m ruff check --fix .
	.venv/bin/python -m ruff format .

# With every process that tests start. Those that tests kill with SIGKILL report nothing.
coverage: venv ## run the tests and list the lines that no process ran (ARGS="tests/unit")
	.venv/bin/python -m coverage erase
	.venv/bin/python -m coverage run -m pytest $(IN_LANES)
	.venv/bin/python -m coverage combine --quiet
	.venv/bin/python -m coverage report

durations: venv ## run the tests and record how long they take, which balances the lanes
	@exec $(PYTEST) $(REPORTS) --record-durations $(IN_LANES)

bench: venv ## measure an outage of the database (ARGS="--broker rabbitmq")
	@exec .venv/bin/python -m bench.outage $(ARGS)

steps-sql: venv ## write docs/steps.sql again: the SQL of the steps, as PostgreSQL gets it
	@STEPS_SQL=write .venv/bin/python -m pytest --quiet tests/integration/ledger/test_steps_sql.py

# A machine that reaches no image registry may name a command that makes the images it is given.
BASE_IMAGES ?= :

image: ## build the container image (BASE=python:3.11-slim-bookworm)
	@$(BASE_IMAGES) $(or $(BASE),$$(sed -n 's/^ARG BASE=//p' Dockerfile)) \
		$$(sed -n 's/^ *image: \(&[a-z]* \)\{0,1\}\([a-z/]*:v\{0,1\}[0-9][^ ]*\)$$/\2/p' docker-compose.yml)
	@docker build $(if $(BASE),--build-arg BASE=$(BASE)) --quiet --tag truepenny:local .

containers: image venv ## run docker-compose.yml, and kill each of its containers under load
	@exec .venv/bin/python -m tests.containers

screenshots: venv ## take the pictures in docs/screenshots of a running `make up`
	@exec .venv/bin/python -m testing.screenshots $(ARGS)

# What kubectl 1.27 has built in, the oldest that k8s/README.md promises to work.
KUSTOMIZE := v5.0.1

kustomize: .tools/kustomize-$(KUSTOMIZE) ## build kustomize into .tools, for the tests of k8s/
.tools/kustomize-$(KUSTOMIZE):
	@command -v go >/dev/null || { echo "truepenny: kustomize is built by Go: apt-get install golang-go" >&2; exit 1; }
	@CGO_ENABLED=0 GOBIN=$(CURDIR)/.tools go install -trimpath sigs.k8s.io/kustomize/kustomize/v5@$(KUSTOMIZE)
	@touch $@

venv: ## the virtual environment alone, with what tests need
	@sh stack/bootstrap/python.sh stack/bootstrap/environment.py requirements-dev.txt

deps: venv ## compile pyproject.toml into the pinned, hashed requirements (ARGS="--upgrade" for newer)
	$(COMPILE) $(ARGS) pyproject.toml --group stack -o requirements.txt
	$(COMPILE) $(ARGS) pyproject.toml -o requirements-app.txt --constraints requirements.txt
	$(COMPILE) $(ARGS) --group fast -o requirements-fast.txt
	$(COMPILE) $(ARGS) pyproject.toml --group dev -o requirements-dev.txt --constraints requirements.txt

VERSION = $$(sed -n 's/^version = "\([^"]*\)".*/\1/p' pyproject.toml)

version: ## write the version of pyproject.toml into the files that cannot read it
	@sed -i "s/newTag: .*/newTag: $(VERSION)/" k8s/base/kustomization.yaml k8s/overlays/prod/kustomization.yaml
	@sed -i "s/image.version=\"[^\"]*\"/image.version=\"$(VERSION)\"/" Dockerfile
	@sed -i "s/\(truepenny:\|truepenny-migrations-\)[0-9][0-9A-Za-z.]*/\1$(VERSION)/g" k8s/README.md

# What `make up` keeps in .data stays: it may hold a ledger.
clean: ## delete what tools and tests have made: caches, reports, .tools and .venv
	rm -rf .venv .tools .reports .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.*
	find . -name __pycache__ -not -path './.data/*' -prune -exec rm -rf {} +
