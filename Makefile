# Two commands on a bare machine: `make up` runs everything, `make test` proves it.
# They need make and Python 3.11 or newer; the rest they fetch, pinned and hashed.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help up test check bench screenshots image containers venv deps version

# All tests run in lanes side by side, some chosen ones in one, which starts no server twice.
TESTS = .venv/bin/python -m pytest $(or $(ARGS),--numprocesses $(LANES) --max-worker-restart 0)
LANES := 3

COMPILE := .venv/bin/python -m uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command 'make deps'

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## run everything here; Ctrl-C stops it, a second run finds its data again
	@sh stack/python.sh stack/environment.py requirements.txt && exec .venv/bin/python -m stack

test: venv ## run the tests on real servers (ARGS="-k name" for some of them)
	@exec $(TESTS)

check: venv ## format, lint, types and tests
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m ruff check .
	.venv/bin/python -m mypy .
	$(TESTS)

bench: venv ## measure an outage of the database (ARGS="--broker rabbitmq")
	@exec .venv/bin/python -m bench.outage $(ARGS)

# A machine that reaches no image registry may name a command that makes the images it is given.
BASE_IMAGES ?= :

image: ## build the container image (BASE=python:3.11-slim-bookworm)
	@$(BASE_IMAGES) $(or $(BASE),$$(sed -n 's/^ARG BASE=//p' Dockerfile)) \
		$$(sed -n 's/^ *image: \(&[a-z]* \)\{0,1\}\([a-z/]*:v\{0,1\}[0-9][^ ]*\)$$/\2/p' docker-compose.yml)
	@docker build $(if $(BASE),--build-arg BASE=$(BASE)) --quiet --tag truepenny:local .

containers: image venv ## run docker-compose.yml, and kill each of its containers under load
	@exec .venv/bin/python -m tests.containers

screenshots: venv ## take the pictures in docs/screenshots of a running `make up`
	@exec .venv/bin/python -m tests.ui.screenshots $(ARGS)

venv: ## the virtual environment alone, with what tests need
	@sh stack/python.sh stack/environment.py requirements-dev.txt

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
