# `make up` runs everything, and `make test` tests it, on a machine with nothing but make and
# Python 3.11 or newer. They install the rest from pinned, hashed requirements.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help up psql test unit fast check lint fix coverage durations bench bench-outage \
	screenshots steps-sql client image containers chaos planted-bugs storms kustomize audit sbom venv deps version clean

# All tests run in parallel lanes. Tests chosen with ARGS run in one process, with one set of servers.
PYTEST := .venv/bin/python -m pytest
IN_LANES = $(or $(ARGS),--numprocesses $(LANES) --max-worker-restart 0)
REPORTS := --durations 25 --junitxml .reports/junit.xml
LANES := 3

COMPILE := .venv/bin/python -m uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command 'make deps'

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## run everything on this machine; Ctrl-C stops it, the next run has its data again
	@sh stack/bootstrap/python.sh stack/bootstrap/environment.py requirements.txt && exec .venv/bin/python -m stack

psql: ## open a terminal on the database of a running `make up` (with the same DATA_DIR)
	@sh stack/bootstrap/python.sh stack/bootstrap/environment.py requirements.txt && exec .venv/bin/python -m stack.psql $(ARGS)

test: venv ## run all tests on real servers (ARGS="-k name" for some of them)
	@exec $(PYTEST) $(REPORTS) $(IN_LANES)

unit: venv ## run the tests that need no server, in seconds
	@exec $(PYTEST) --quiet tests/unit tests/test_architecture.py tests/test_prose.py $(or $(ARGS),--numprocesses 2)

fast: venv ## run all tests except slow ones and those that break servers
	@exec $(PYTEST) $(REPORTS) -m "not slow and not chaos" $(IN_LANES)

check: lint test ## run lint and test

lint: venv ## check formatting, lint rules and types
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m ruff check .
	.venv/bin/python -m mypy .

fix: venv ## format the code, and fix what the linter can fix
	.venv/bin/python -m ruff check --fix .
	.venv/bin/python -m ruff format .

# Includes the processes that tests start, except those that tests kill with SIGKILL.
coverage: venv ## run the tests, and list lines that were never run (ARGS="tests/unit")
	.venv/bin/python -m coverage erase
	.venv/bin/python -m coverage run -m pytest $(IN_LANES)
	.venv/bin/python -m coverage combine --quiet
	.venv/bin/python -m coverage report

durations: venv ## run the tests, and record their durations to balance the lanes
	@exec $(PYTEST) $(REPORTS) --record-durations $(IN_LANES)

bench: ## measure speed, memory and size of a whole `make up` (ARGS="--help" for the choices)
	@sh stack/bootstrap/python.sh stack/bootstrap/environment.py requirements-bench.txt
	@mkdir -p .reports
	@exec .venv/bin/python -m bench $(or $(ARGS),--json .reports/bench.json --chart .reports/bench.svg)

bench-outage: venv ## measure what an outage of the database costs (ARGS="--broker rabbitmq")
	@exec .venv/bin/python -m bench.outage $(ARGS)

steps-sql: venv ## write docs/steps.sql: the SQL of the steps, as PostgreSQL gets it
	@STEPS_SQL=write .venv/bin/python -m pytest --quiet tests/integration/ledger/test_steps_sql.py

client: venv ## build the wheel and the sdist of the Python client into .reports/client
	@cd client && exec ../.venv/bin/python -m hatchling build -d ../.reports/client

# On a machine without an image registry: a command that makes the images named by its arguments.
# It gets no digests, since what it makes has others.
BASE_IMAGES ?= :

image: ## build the container image (BASE=python:3.11-slim-bookworm)
	@$(BASE_IMAGES) $(or $(BASE),$$(sed -n 's/^ARG BASE=\([^@]*\).*/\1/p' Dockerfile)) \
		$$(sed -n 's/^ *image: \(&[a-z]* \)\{0,1\}\([a-z/]*:v\{0,1\}[0-9][^ @]*\)\(@[^ ]*\)\{0,1\}$$/\2/p' docker-compose.yml)
	@docker build $(if $(BASE),--build-arg BASE=$(BASE)) --quiet --tag truepenny:local .

containers: image venv ## run docker-compose.yml, and kill each container under load
	@exec .venv/bin/python -m tests.containers

# Two programs: the second reads the first one's record, and shares no code with it.
OUT ?= history.jsonl

chaos: venv ## run a storm of faults and check its history (SEED=1 SECONDS=60 BROKER=rabbitmq OUT=file)
	@.venv/bin/python -m testing.storm --seed '$(or $(SEED),1)' --seconds '$(or $(SECONDS),60)' \
		--broker '$(or $(BROKER),redis)' --out '$(OUT)' $(ARGS)
	@exec .venv/bin/python -I -S tools/check_history.py '$(OUT)'

planted-bugs: venv ## show that the checker finds bugs that are put into copies of the code
	@exec .venv/bin/python -m testing.storm.planted

storms: venv ## run the storms with fixed seeds, the model of the ledger, and all planted bugs
	@$(PYTEST) --quiet --storms tests/acceptance/test_storm.py tests/integration/ledger/test_model.py $(ARGS)
	@exec .venv/bin/python -m testing.storm.planted

screenshots: venv ## take the pictures in docs/screenshots from a running `make up`
	@exec .venv/bin/python -m testing.screenshots $(ARGS)

# The version built into kubectl 1.27, the oldest that k8s/README.md supports.
KUSTOMIZE := v5.0.1

kustomize: .tools/kustomize-$(KUSTOMIZE) ## build kustomize in .tools, for the tests of k8s/
.tools/kustomize-$(KUSTOMIZE):
	@command -v go >/dev/null || { echo "truepenny: Go is needed to build kustomize (on Debian: apt install golang-go)" >&2; exit 1; }
	@CGO_ENABLED=0 GOBIN=$(CURDIR)/.tools go install -trimpath sigs.k8s.io/kustomize/kustomize/v5@$(KUSTOMIZE)
	@touch $@

# Tools of their own, apart from what runs and what tests. Nothing is installed or built to look.
AUDIT := .tools/audit
REQUIREMENTS := requirements.txt requirements-app.txt requirements-fast.txt requirements-dev.txt requirements-audit.txt \
	requirements-bench.txt

audit: $(AUDIT)/installed ## look up every pinned package in the advisory database of PyPI
	@mkdir -p .reports && rm -f .reports/audit.txt
	@$(AUDIT)/bin/pip-audit --strict --require-hashes --disable-pip --progress-spinner off \
		$(REQUIREMENTS:%=--requirement %) --output .reports/audit.txt 2>.reports/audit.log && echo "truepenny: no known vulnerabilities" || { \
		if [ -e .reports/audit.txt ]; then cat .reports/audit.txt; \
			echo "truepenny: these packages have known vulnerabilities: upgrade them with make deps" >&2; \
		else tail -n 3 .reports/audit.log >&2; \
			echo "truepenny: NOT AUDITED: the advisory database did not answer for every package; .reports/audit.log says why" >&2; \
		fi; exit 1; }

sbom: $(AUDIT)/installed ## write the bills of materials (CycloneDX) of make up and of the image to .reports
	@mkdir -p .reports
	@for name in requirements requirements-app; do \
		$(AUDIT)/bin/python -W ignore -m cyclonedx_py requirements $$name.txt --pyproject pyproject.toml \
			--output-reproducible --output-file .reports/$$name.cdx.json || exit 1; \
		echo ".reports/$$name.cdx.json"; \
	done

$(AUDIT)/installed: requirements-audit.txt
	@rm -rf $(AUDIT) && sh stack/bootstrap/python.sh -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--only-binary=:all: --requirement requirements-audit.txt
	@touch $@

venv: ## make .venv with all that tests need
	@sh stack/bootstrap/python.sh stack/bootstrap/environment.py requirements-dev.txt

deps: venv ## compile pyproject.toml into hashed requirements (ARGS="--upgrade" for newer versions)
	$(COMPILE) $(ARGS) pyproject.toml --group stack -o requirements.txt
	$(COMPILE) $(ARGS) pyproject.toml -o requirements-app.txt --constraints requirements.txt
	$(COMPILE) $(ARGS) --group fast -o requirements-fast.txt
	$(COMPILE) $(ARGS) pyproject.toml --group dev -o requirements-dev.txt --constraints requirements.txt
	$(COMPILE) $(ARGS) --group audit -o requirements-audit.txt --constraints requirements-dev.txt
	$(COMPILE) $(ARGS) pyproject.toml --group bench -o requirements-bench.txt \
		--constraints requirements-dev.txt --constraints requirements-audit.txt

VERSION = $$(sed -n 's/^version = "\([^"]*\)".*/\1/p' pyproject.toml)

version: ## copy the version of pyproject.toml into k8s/ and the Dockerfile
	@sed -i "s/newTag: .*/newTag: $(VERSION)/" k8s/base/kustomization.yaml k8s/overlays/prod/kustomization.yaml
	@sed -i "s/image.version=\"[^\"]*\"/image.version=\"$(VERSION)\"/" Dockerfile
	@sed -i "s/\(truepenny:\|truepenny-migrations-\)[0-9][0-9A-Za-z.]*/\1$(VERSION)/g" k8s/README.md

# .data stays, because it may hold the ledger of `make up`.
clean: ## delete caches, reports, .tools and .venv
	rm -rf .venv .tools .reports .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.*
	find . -name __pycache__ -not -path './.data/*' -prune -exec rm -rf {} +
