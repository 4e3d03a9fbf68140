# Each target does its own set-up; the stamp makes that quick once done.
#
#   make demo                       a real nginx, a real app, the three answers (ARGS='--seconds 10' ends by itself, --docker: as containers)
#   make test                       the tests, some minutes (ARGS='-k tail' is passed on to pytest)
#   make test-long                  the rest: what starts a collector, InfluxDB or a browser
#   make test-tailnet               what starts a tailnet
#   make test-lighthouse            Lighthouse's marks of the page, with nothing beside it
#   make test-slow                  runs of minutes; CI leaves them out
#   make matrix                     every server of an app with the oldest and newest Python, OpenTelemetry and FastAPI (Debian; minutes)
#   make tailnet                    builds the daemons of the tests on a real tailnet (Go; minutes at first, then quick)
#   make collector                  builds the OpenTelemetry collector of the tests (Go; minutes at first)
#   make influxdb                   builds the InfluxDB of the tests (Go and Rust; minutes at first)
#   make influxdb1, make opengemini  builds InfluxDB 1, and a cluster that has to be refused (minutes each, once)
#   make jaeger                     builds the Jaeger of the tests (Go; minutes at first)
#   make headscale                  builds the Headscale of the tests (Go; minutes at first)
#   make docker                     the stack in real containers, 15 to 30 minutes (root, docker.io, mmdebstrap; the images are made here)
#   make docker-short               a part of these, as CI has it: each kind of fault once, some five minutes
#   make inspector                  installs the MCP Inspector, a foreign client of the tests (npm)
#   make lighthouse                 installs Lighthouse, which marks the page in the tests (npm)
#   make web                        builds the page, api/web → api/tailtrace_api/static (Node.js 20 with npm)
#   make lint                       ruff and mypy; make format lets ruff mend what it can
#   make audit                      asks whether what we build on has known vulnerabilities (pip-audit, npm)
#   make mutants                    flips each condition of the pure modules; a test must see it (minutes; ARGS=routes for one)
#   make soak                       faults under load, ten minutes; every line must be a row (ARGS='--minutes 3'); as root it fills a disk too
#   make bench                      the measurements; one of bench/ with its options: make bench BENCH=store ARGS='--rows 1000'
#   make docs                       rewrites what is generated in docs/, and takes its pictures anew (chromium); make screenshots these alone
#   make report-example             rewrites the example of the monthly report (needs poppler-utils)
#   make lock                       renews constraints.txt, the versions that CI, the image and .venv are built with
#   make release                    sdist and wheel into dist/, the page in both, tried in bare environments: docs/releasing.md
#   make wheel                      builds the wheel into dist/, tries it in bare environments
#
# PYTHON is the interpreter that .venv is made from: make test PYTHON=python3.13

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
READY := .venv/.ready
CACHE := $(HOME)/.cache/tailtrace
TAILNET := $(CACHE)/tailnet
OTELCOL := $(CACHE)/otelcol
OTELCOL_RECIPE := tests/stack/build_otelcol.sh tests/stack/otelcol-builder.yaml
INFLUXDB := $(CACHE)/influxdb
INFLUXDB1 := $(CACHE)/influxdb1
OPENGEMINI := $(CACHE)/opengemini
JAEGER := $(CACHE)/jaeger
HEADSCALE := $(CACHE)/headscale
COMPOSE := $(CACHE)/compose
DOCKER := $(CACHE)/docker
PYTHON_NEWEST := 3.15
PYTHON_UNPACKED := $(CACHE)/servers/python$(PYTHON_NEWEST)
INSPECTOR := $(CACHE)/inspector
INSPECTOR_VERSION := 2.12.0
LIGHTHOUSE := $(CACHE)/lighthouse
LIGHTHOUSE_VERSION := 12.8.2
PACKAGES := tailtrace tailtrace_bridge tailtrace_api

# Servers of the tests take minutes of both cores, hence `nice`. The stamp carries the recipe's checksum: a fresh clone finds
# what another one built.
made_by = .made-by-$(firstword $(shell cksum $(1)))

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup web demo test test-long test-lighthouse test-tailnet test-slow matrix docker docker-short docker-parts tailnet collector influxdb influxdb1 opengemini jaeger headscale inspector lighthouse lint audit format mutants figures soak bench docs screenshots report-example lock wheel release clean

setup: $(READY)

# `venv` mends a .venv that was left half made. pip learned --group in 25.1.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tailtrace needs Python 3.11 or later; " \
		+ sys.executable + " is older: make ... PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[server,demo,parquet,pdf]' --group dev
	@touch $@

# Where there is no npm, tailtrace runs without its page, and says so there.
WEB := api/tailtrace_api/static/index.html
HAS_NPM := $(shell command -v npm 2>/dev/null)
WEB_IF_NPM := $(if $(HAS_NPM),$(WEB))

web: $(WEB)
$(WEB): $(shell find api/web/src -type f) $(wildcard bridge/tailtrace_bridge/texts/*/*.json) api/web/build.mjs api/web/node_modules/.ready
	cd api/web && node build.mjs

api/web/node_modules/.ready: api/web/package-lock.json
	@command -v npm >/dev/null || { echo "make web needs Node.js 20 or later with npm: https://nodejs.org" >&2; exit 1; }
	cd api/web && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

# With an environment of its own, a fifth of the other: who only looks needs no tools. Where that one is there, it will do.
DEMO := $(if $(wildcard $(READY)),.venv,.venv/demo)

demo: $(DEMO)/.ready $(WEB_IF_NPM)
	$(DEMO)/bin/tailtrace demo $(ARGS)

.venv/demo/.ready: pyproject.toml constraints.txt
	@echo "make demo: installs tailtrace, FastAPI and an nginx into .venv/demo: 220 MB, once, about a minute" >&2
	$(PYTHON) -m venv .venv/demo
	.venv/demo/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[demo]'
	@touch $@

# A quick test waits for half of its time, so there are two for each core.
WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))

# `long` is given in tests/conftest.py, to what starts servers that want much of the machine: file by file, few at a time.
test: $(READY) $(WEB_IF_NPM)
	$(BIN)/pytest -m 'not long' --numprocesses $(WORKERS) --dist worksteal $(ARGS)

test-long: $(READY) $(WEB_IF_NPM)
	$(BIN)/pytest -m 'long and not slow and not docker and not tailnet and not headscale and not lighthouse' --numprocesses 3 --dist loadfile $(ARGS)

# Apart from the rest: a page's tasks take more of a processor's time beside others, who share its caches.
test-lighthouse: $(READY) $(WEB_IF_NPM)
	$(BIN)/pytest -m lighthouse tests/browser $(ARGS)

# Apart from the rest: near a tailscaled the API believes nobody of this machine, and whenever a network comes or goes,
# Chromium breaks off what it loads.
test-tailnet: $(READY)
	$(BIN)/pytest -m '(tailnet or headscale) and not slow and not docker' --numprocesses 2 --dist loadfile tests/end_to_end tests/stack $(ARGS)

# One after another: an engine of their own, whose images stay in the cache.
docker: CONTAINED := docker
# Each kind of fault once.
docker-short: CONTAINED := docker and not slow
docker docker-short: $(READY) docker-parts
	nice $(BIN)/python tests/docker/engine.py
	nice $(BIN)/pytest -m '$(CONTAINED)' tests/docker $(ARGS)

docker-parts: collector influxdb tailnet $(COMPOSE)/$(call made_by,tests/stack/build_go.sh) $(DOCKER)/containerboot

$(COMPOSE)/.made-by-%:
	nice tests/stack/build_go.sh github.com/docker/compose/v2@v2.40.3 $(COMPOSE) ./cmd
	@rm -f $(COMPOSE)/.made-by-* && touch $@

$(DOCKER)/containerboot:
	cd tests/tailnet && version=$$(go list -m -f "{{.Version}}" tailscale.com) \
		&& GOBIN=$(DOCKER) GOFLAGS=-buildvcs=false CGO_ENABLED=0 nice go install tailscale.com/cmd/containerboot@$$version

test-slow: $(READY) $(WEB_IF_NPM)
	$(BIN)/pytest -m 'slow and not docker' $(ARGS)

matrix: $(READY) $(PYTHON_UNPACKED)/usr/bin/python$(PYTHON_NEWEST)
	nice $(BIN)/pytest tests/instrumentation/test_servers.py $(ARGS)

$(PYTHON_UNPACKED)/usr/bin/python%: | $(READY)
	tests/instrumentation/build_python.sh $* $(PYTHON_UNPACKED) $(BIN)/uv

# Their version is the one that the control server is built from. `go install` takes them by their own go.sum.
tailnet: $(TAILNET)/.ready
$(TAILNET)/.ready: export GOBIN := $(TAILNET)
$(TAILNET)/.ready: export GOFLAGS := -buildvcs=false
$(TAILNET)/.ready: $(addprefix tests/tailnet/,main.go go.mod go.sum)
	cd tests/tailnet && version=$$(go list -m -f '{{.Version}}' tailscale.com) \
		&& go install tailscale.com/cmd/tailscaled@$$version tailscale.com/cmd/tailscale@$$version \
		&& go build -o $(TAILNET)/control .
	@touch $@

collector: $(OTELCOL)/.made-by-$(firstword $(shell cat $(OTELCOL_RECIPE) | cksum))
$(OTELCOL)/.made-by-%:
	nice tests/stack/build_otelcol.sh $(OTELCOL)
	@rm -f $(OTELCOL)/.made-by-* && touch $@

influxdb: $(INFLUXDB)/$(call made_by,tests/stack/build_influxdb.sh)
$(INFLUXDB)/.made-by-%:
	nice tests/stack/build_influxdb.sh $(INFLUXDB)
	@rm -f $(INFLUXDB)/.made-by-* && touch $@

influxdb1: $(INFLUXDB1)/$(call made_by,tests/stack/build_influxdb.sh)
$(INFLUXDB1)/.made-by-%:
	nice tests/stack/build_influxdb.sh $(INFLUXDB1) 1
	@rm -f $(INFLUXDB1)/.made-by-* && touch $@

opengemini: $(OPENGEMINI)/$(call made_by,tests/stack/build_go.sh)
$(OPENGEMINI)/.made-by-%:
	nice tests/stack/build_go.sh github.com/openGemini/openGemini@v1.3.0 $(OPENGEMINI) ./app/ts-meta ./app/ts-store ./app/ts-sql \
		-- -ldflags '-s -w -checklinkname=0'
	@rm -f $(OPENGEMINI)/.made-by-* && touch $@

jaeger: $(JAEGER)/$(call made_by,tests/stack/build_go.sh)
$(JAEGER)/.made-by-%:
	nice tests/stack/build_go.sh github.com/jaegertracing/jaeger@v1.76.0 $(JAEGER) ./cmd/all-in-one
	@rm -f $(JAEGER)/.made-by-* && touch $@

headscale: $(HEADSCALE)/$(call made_by,tests/stack/build_go.sh)
$(HEADSCALE)/.made-by-%:
	nice tests/stack/build_go.sh github.com/juanfont/headscale@v0.26.1 $(HEADSCALE) ./cmd/headscale
	@rm -f $(HEADSCALE)/.made-by-* && touch $@

inspector: $(INSPECTOR)/.version-$(INSPECTOR_VERSION)
$(INSPECTOR)/.version-%:
	npm install --silent --no-audit --no-fund --prefix $(INSPECTOR) @modelcontextprotocol/inspector@$*
	@rm -f $(INSPECTOR)/.version-* && touch $@

lighthouse: $(LIGHTHOUSE)/.version-$(LIGHTHOUSE_VERSION)
$(LIGHTHOUSE)/.version-%:
	npm install --silent --no-audit --no-fund --prefix $(LIGHTHOUSE) lighthouse@$*
	@rm -f $(LIGHTHOUSE)/.version-* && touch $@

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(foreach package,$(PACKAGES),-p $(package))
	MYPYPATH=bench:scripts:instrumentation:bridge:api:. $(BIN)/mypy --implicit-reexport --follow-imports=silent scripts bench
	.ci/check_subjects.sh

# pip-audit has an environment of its own: it must not be what it looks at.
audit: $(READY) .venv/audit/.ready
	.venv/audit/bin/python .ci/audit.py .venv/audit/bin/python "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')"

# So has the mutation tester.
mutants: $(READY) .venv/mutants/.ready
	nice $(BIN)/python scripts/mutants.py $(ARGS)

figures: $(READY)
	$(BIN)/python scripts/figures.py $(ARGS)

.venv/mutants/.ready:
	$(PYTHON) -m venv .venv/mutants
	.venv/mutants/bin/python -m pip install --quiet 'cosmic-ray>=8.7'
	@touch $@

.venv/audit/.ready:
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet 'pip-audit>=2.9'
	@touch $@

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

soak: $(READY)
	$(BIN)/python scripts/soak.py $(ARGS)

bench: $(READY) $(WEB_IF_NPM)
ifdef BENCH
	$(BIN)/python bench/$(BENCH).py $(ARGS)
else
	@test -z '$(ARGS)' || { echo "ARGS are those of one script: make bench BENCH=store ARGS='$(ARGS)'" >&2; exit 2; }
	@set -e; for script in bench/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done
endif

docs: $(READY)
	$(BIN)/python docs/generate.py
	$(MAKE) --no-print-directory screenshots

report-example: $(READY)
	$(BIN)/python docs/report_example.py

screenshots: $(READY) $(WEB)
	$(BIN)/python docs/screenshots.py

# For every system and Python that we allow; an environment marker stands where they differ.
lock: $(READY)
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --group dev \
		--no-emit-index-url --no-annotate --custom-compile-command 'make lock' pyproject.toml -o constraints.txt

wheel: $(READY) $(WEB_IF_NPM)
	.ci/check_wheel.sh $(PYTHON)

# From a copy of what git has: nothing that lies about gets in, and the page is built anew.
release: $(READY)
	.ci/make_release.sh $(PYTHON)

clean:
	rm -rf api/tailtrace_api/static api/web/node_modules
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
