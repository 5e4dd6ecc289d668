# Everything one does with this project. `make help` lists it; CI calls nothing else.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO          ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
CYCLONEDX   := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
BENCHSTAT   := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
FUZZTIME    ?= 5s
REPEAT      ?= 5
TIMEOUT     ?= 20m
TAG         ?= latest
CHAOS       ?= 1

.PHONY: help
help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: run
run: bin/tidings ## everything in one process; ARGS="--listen 127.0.0.1:9000" for other settings
	@exec bin/tidings run $(ARGS)

.PHONY: build
build: bin/tidings bin/edge bin/publisher ## the three programs into bin/

# Built each time: Go knows best what has changed.
.PHONY: always
always:
bin/%: always
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build $(STAMP) -trimpath -o $@ ./cmd/$*

.PHONY: sbom
sbom: bin/tidings.cdx.json bin/edge.cdx.json bin/publisher.cdx.json ## what is in each program, as CycloneDX, beside it in bin/

bin/%.cdx.json: bin/%
	@$(GO) run $(CYCLONEDX) bin -json -output $@ $<

.PHONY: images
images: sbom ## images of edge and publisher, with their SBOM in /usr/share/sbom; needs a Docker Engine. TAG=latest
	@for program in edge publisher; do \
		DOCKER_BUILDKIT=0 docker build --quiet -f cmd/$$program/Dockerfile -t tidings/$$program:$(TAG) bin; \
	done

.PHONY: test
test: needs ## all tests; installs what they need if it may
	$(GO) test -timeout $(TIMEOUT) ./...

.PHONY: needs
needs: ## what the tests need beside Go: a Docker Engine, a browser
	@.ci/needs

.PHONY: race
race: needs ## all tests under the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout $(TIMEOUT) ./...

.PHONY: e2e
e2e: needs ## whole clusters, also ones that break; CHAOS=full for longer outages, CHAOS_SEED=n for a run as before
	CHAOS=$(CHAOS) SOAK=$${SOAK:-2m} $(GO) test -count=1 -v -timeout 25m -p 1 ./cmd/internal/e2e/...

.PHONY: soak
soak: ## two edges with churn for SOAK (30m), and a client behind a modem for ten minutes of it, as root
	CHAOS=$(CHAOS) SOAK=$${SOAK:-30m} $(GO) test -count=1 -v -timeout 0 -run '^(TestSoak|TestSlowLink)_' ./cmd/internal/e2e/...

.PHONY: fuzz-seeds
fuzz-seeds: ## every fuzz target with its seeds
	$(GO) test -run '^Fuzz' ./...

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (5s)
	@GO=$(GO) .ci/fuzz $(FUZZTIME)

.PHONY: bench
bench: STAMP = -buildvcs=true # the page names the commit
bench: bin/tidings bin/edge ## the standing set of loads into BENCHMARKS.md; some nine minutes a round on a quiet machine, REPEAT=1 for a single one
	bin/tidings bench report --edge bin/edge --repeat $(REPEAT) --out BENCHMARKS.md --svg BENCHMARKS.svg

.PHONY: bench-compare
bench-compare: ## micro-benchmarks of this tree against those of the commit BASE; COUNT=10 runs of each
	@.ci/bench-compare "$(BASE)" $(BENCHSTAT)

.PHONY: fmt
fmt: ## gofmt in place
	gofmt -w $$($(GO) list -f '{{.Dir}}' ./...)

.PHONY: fmt-check
fmt-check: ## fails if gofmt would change something
	@unformatted=$$(gofmt -l $$($(GO) list -f '{{.Dir}}' ./...)); [ -z "$$unformatted" ] || { echo "run make fmt: $$unformatted"; exit 1; }

.PHONY: vet
vet: ## go vet
	$(GO) vet ./...

.PHONY: lint
lint: ## staticcheck
	$(GO) run $(STATICCHECK) ./...

.PHONY: house
house: ## the house's rules: which package may import which, no file without measure
	@.ci/house

.PHONY: tidy
tidy: ## fails if go.mod or go.sum are not tidy
	$(GO) mod tidy -diff
	$(GO) mod verify

.PHONY: cross
cross: ## compiles for other systems
	@for target in linux/arm64 darwin/arm64 windows/amd64; do \
		echo "build $$target"; \
		CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} $(GO) build -o /dev/null ./...; \
	done

.PHONY: vuln
vuln: ## known holes in what we use, where the database can be had
	@out=$$($(GO) run $(GOVULNCHECK) ./... 2>&1) && { echo "$$out"; exit 0; }; \
	echo "$$out"; grep -q 'fetching vulnerabilities' <<<"$$out" || exit 1; \
	echo "the database of known holes cannot be had here: nothing was checked"

.PHONY: clean
clean: ## bin/ and what tests left
	rm -rf bin coverage.out
