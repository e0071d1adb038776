.DEFAULT_GOAL := help
SHELL         := bash

LINT_VERSION := v2.15.0
FUZZ_TIME    ?= 30s
PACKAGES     ?= ./...

# The race detector links with a C compiler; without one the tests run without it.
RACE := $(if $(shell command -v gcc || command -v clang || command -v cc),-race)

.PHONY: help build deps test check lint bench bench-msm bench-check bench-fleet fuzz torture images

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## ./pillion
	go build -o pillion ./cmd/pillion

deps: ## the servers and languages that the tests talk to
	@.ci/deps

test: deps ## vet, then every test with the race detector
	go vet $(PACKAGES)
	go test $(RACE) $(PACKAGES)
	go test -run 'TestMutantsAreCaught|TestSeedsRepeat' ./test/sim
	@$(MAKE) --no-print-directory images

check: lint test ## format, linters, vet, race tests

lint: bin/golangci-lint-$(LINT_VERSION) ## format and linters alone
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt these: $$unformatted"; exit 1; }
	$< run $(PACKAGES)
	cd test/images && $(CURDIR)/$< run ./...

bin/golangci-lint-$(LINT_VERSION):
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv bin/golangci-lint $@

bench: ## the data path beside its peers, in one table; ten minutes. A first look: go run ./bench -quick
	@go run ./bench

bench-msm: ## what memcached-session-manager adds to a Tomcat, beside what a sidecar before it costs
	@go run ./bench msm

bench-check: ## fails when the data path leaves its budget; where other work runs: go run ./bench -quick -margin 2 check
	@go run ./bench check

bench-fleet: ## a fleet's restarts, kills and floods, in one table
	@go run ./bench/fleet

torture: ## real processes killed, frozen and emptied under load, in one table
	@go run ./test/torture

images: ## Dockerfile, compose files and manifests, read by their own parsers and run as processes
	cd test/images && go vet ./... && go test -count=1 ./... # what it reads is outside its module: no result may be kept

fuzz: ## each fuzz target for FUZZ_TIME (30s)
	@.ci/fuzz $(FUZZ_TIME)
