# A table of contents: `make` lists it. Everything is installed by these lines, pinned and checked by hash.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 8080
DATA ?= .topten
DEMO ?= 0
WORKERS ?= 1
MINUTES ?= 5
PROFILE ?= baseline
SCALE ?= 1
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
UV := $(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-annotate --no-strip-markers --python-version 3.11 $(ARGS)
CODE := services edge tests codegen deploy

PREFLIGHT = $(PYTHON) services/embedded/preflight.py $(if $(wildcard .venv/base),,--venv)
# Go itself is a wheel. Programs that run for a second are built without optimization, in half the time.
GO_INSTALL := CGO_ENABLED=0 GOTOOLCHAIN=local $(CURDIR)/.venv-codegen/bin/go install -gcflags='all=-N -l' -ldflags='-s -w'

.DEFAULT_GOAL := help
.PHONY: help venv up preflight preflight-test test quick fuzz lint fmt gen stubs chart lock audit sbom policy cluster bench screenshots load faults defects clean

help:  ## show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 16

venv: .venv/dev .venv/node .venv/alert-tools .venv-codegen/done  ## install everything that tests and tools need, into .venv

up: preflight .venv/run  ## start everything: PORT=8080 DATA=.topten DEMO=0 (simulated players) WORKERS=1 (edges)
	@exec $(BIN)/topten up --port $(PORT) --data $(DATA) --demo $(DEMO) --workers $(WORKERS)

preflight:
	@$(PREFLIGHT) --port=$(PORT) --data=$(DATA)

# SQLite is for the NSS of the tests' Chromium.
preflight-test:
	@$(PREFLIGHT) --port 0 --program git=git --program curl=curl --library libsqlite3.so.0=libsqlite3-0

test: preflight-test  ## lint, then every test on real servers, with coverage of their processes
	@$(MAKE) --no-print-directory -j 2 lint venv
	@$(BIN)/python -m tests.covered $(ARGS)

quick: .venv/dev  ## lint what you changed, run the unit tests that start no process: ARGS="-k ledger"
	@$(BIN)/python -m tests.quick $(ARGS)

fuzz: .venv/dev  ## the properties on new random examples, which `make test` does not try: ARGS="tests/unit/boards"
	$(BIN)/python -m pytest -n 2 --hypothesis-profile=default $(or $(ARGS),tests/unit tests/contract)

lint: .venv/dev  ## ruff, mypy --strict, the import arrows, the contracts
	$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports
	$(BIN)/buf lint && $(BIN)/buf format --diff --exit-code
	@$(BIN)/python -m tests.contract.breaking

fmt: .venv/dev  ## format code and contracts
	$(BIN)/ruff check --quiet --fix-only . && $(BIN)/ruff format --quiet . && $(BIN)/buf format --write

gen: .venv/dev .venv-codegen/done  ## regenerate stubs (Python, Go), GraphQL schema, trusted documents and reference pages
	.venv-codegen/bin/python codegen/generate.py
	$(BIN)/buf generate --template codegen/go/buf.gen.yaml
	$(BIN)/python -m edge.graphql.schema
	$(BIN)/python -m tests.contract.page_documents
	$(BIN)/python -m tests.contract.metrics > docs/reference/metrics.md
	$(BIN)/python -m tests.contract.page_weights > docs/reference/page-weights.md
	$(BIN)/topten config --markdown > docs/reference/configuration.md

stubs: .venv-codegen/base  ## build what other teams install into dist/: wheel, npm, browser client, Go, Maven (ARGS=java: one)
	.venv-codegen/bin/python -m codegen.build $(ARGS)

chart: .venv/dev  ## regenerate the chart's README and schema from its values.yaml
	$(BIN)/python deploy/helm/generate.py

lock: .venv/dev  ## pin what pyproject.toml names: ARGS=--upgrade for newer versions
	$(UV) pyproject.toml --extra local --group build --no-emit-package topten-stubs -o requirements/run.txt
	$(UV) pyproject.toml --extra local --group build --group dev -c requirements/run.txt --no-emit-package topten-stubs -o requirements/dev.txt
	$(UV) pyproject.toml -c requirements/run.txt --no-emit-package topten-stubs -o requirements/image.txt
	$(UV) --group pyproject.toml:audit -o requirements/audit.txt
	$(UV) --group pyproject.toml:policy -o requirements/policy.txt
	$(UV) --group build -c requirements/run.txt -o requirements/build.txt
	$(UV) codegen/requirements.in -o codegen/requirements.txt

audit: .venv/dev .venv-audit/done  ## install from the locks alone, look for known vulnerabilities: ARGS=--offline asks nobody
	$(BIN)/python -m tests.contract.supply_chain $(ARGS)

sbom: .venv-audit/done  ## what the image holds, as CycloneDX: dist/topten.cdx.json
	@mkdir -p dist
	.venv-audit/bin/cyclonedx-py requirements requirements/image.txt --pyproject pyproject.toml --short-PURLs --output-reproducible --of JSON -o dist/topten.cdx.json

policy: .venv/dev .venv-policy/done  ## hold the rendered chart and the Dockerfile to checkov's policies; asks nobody on the network
	$(BIN)/python -m tests.helm.policy

cluster: .venv/dev .venv-codegen/done  ## the chart on a real Kubernetes API server and, as root, a node: ARGS="trial minimal node" takes some
	@$(BIN)/python -m tests.cluster $(ARGS)

bench: .venv/dev  ## measure, each figure beside its floor: ARGS=answers, ARGS=score_throughput
	$(BIN)/python -m tests.bench $(ARGS)

screenshots: venv  ## take pictures of every screen into dist/screenshots, and the sheets in docs/screens: ARGS="--only host"
	$(BIN)/python -m tests.screenshots $(ARGS)

load: .venv/dev  ## traffic with k6: PROFILE=baseline|peak|stress|spike|endurance SCALE=0.05 ARGS="--rate 20 --screens 200"
	$(BIN)/python -m tests.load $(PROFILE) --scale $(SCALE) $(ARGS)

faults: .venv/dev  ## kill, stop, restore and empty stores at random, then check everything: SEED= SEEDS=1 MINUTES=5 FAULTS="kill rewind"
	$(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) --minutes $(MINUTES) $(if $(FAULTS),--faults $(FAULTS))

defects: .venv/dev  ## put known defects into a copy, one at a time: the tests must notice each
	$(BIN)/python -m tests.faults.defects

clean:  ## remove environments and data
	rm -rf .venv .venv-audit .venv-codegen .venv-policy .topten .coverage* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache tests/node/node_modules \
	  codegen/typescript/node_modules codegen/typescript/gen codegen/typescript/proto codegen/client/node_modules codegen/client/client codegen/client/types codegen/java/src codegen/java/target

.venv/base:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Topten needs Python 3.11 or newer; name one with PYTHON=" >&2; exit 1; }
	@echo "Preparing the environment in .venv (once) …" >&2
	@$(PYTHON) -m venv .venv && touch $@

.venv/run: .venv/base requirements/run.txt pyproject.toml codegen/python/pyproject.toml
	@$(BIN)/python services/embedded/install.py "what runs" --require-hashes -r requirements/run.txt
	@$(PIP) --no-deps --no-build-isolation -e codegen/python -e .
	@touch $@

.venv/dev: .venv/run requirements/dev.txt
	@$(BIN)/python services/embedded/install.py "what tests need" --require-hashes -r requirements/dev.txt
	@touch $@

# Packages for scripts of the tests, and Chromium with the libraries and the font that it needs: tests/chromium.py.
.venv/node: tests/node/package-lock.json .venv/dev
	@$(BIN)/python -m tests.node
	@touch $@

# promtool and amtool: no package ships them, so Go builds them, once for all clones of a user (its cache keeps the rest).
.venv/alert-tools: tests/observability/tools/go.sum .venv/base .venv-codegen/base
	@echo "Building promtool and amtool (once; two minutes) …" >&2
	@cd tests/observability/tools && GOBIN="$(CURDIR)/.venv/bin" $(GO_INSTALL) -tags=remove_all_sd tool
	@touch $@

.venv-audit/done: requirements/audit.txt
	@$(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/audit.txt
	@touch $@

# What packs the stubs: no server, no browser, nothing to compile. Generating Go takes two plugins more, which Go builds.
.venv-codegen/base: codegen/requirements.txt
	@echo "Preparing the generators in .venv-codegen (once) …" >&2
	@$(PYTHON) -m venv .venv-codegen
	@.venv-codegen/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r codegen/requirements.txt
	@touch $@

.venv-codegen/done: .venv-codegen/base codegen/go/tools/go.sum
	@cd codegen/go/tools && GOBIN="$(CURDIR)/.venv-codegen/bin" $(GO_INSTALL) tool
	@touch $@

.venv-policy/done: requirements/policy.txt
	@$(PYTHON) -m venv .venv-policy
	@.venv-policy/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/policy.txt
	@touch $@
