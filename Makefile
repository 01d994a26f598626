# The two that matter: `make test` (everything a change must pass) and `make build`.
# CGO_ENABLED=0 throughout; scripts/test.sh turns cgo on for -race alone.

GO          ?= go
FUZZTIME    ?= 60s
BENCHCOUNT  ?= 6
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2

export GO FUZZTIME STATICCHECK
export CGO_ENABLED = 0

.PHONY: test build bench fuzz lab soak generate help

test: ## install what tests need where allowed, then formatting, vet, staticcheck, cross builds, all tests
	@./scripts/test.sh

build: ## a static binary in bin/
	$(GO) build -trimpath -o bin/kaflow ./cmd/kaflow

bench: ## Go benchmarks with allocation counts, for benchstat; then kaflow beside the tools that are installed
	$(GO) test -run '^$$' -bench . -benchmem -count $(BENCHCOUNT) ./...
	$(GO) run ./internal/traffic/cmd/bench $(BENCHFLAGS)

fuzz: ## every fuzz target for FUZZTIME each (default 60s)
	@./scripts/fuzz.sh

lab: ## the network namespace scenarios alone, verbose, all of them (root); LABFLAGS go to the test binary
	LAB=require $(GO) test -count 1 -timeout 60m -v ./internal/lab/... $(if $(LABFLAGS),-args $(LABFLAGS))
	LAB=require LAB_SEED=$${LAB_SEED:-$$(date +%N | sed 's/^0*//')} $(GO) test -count 1 -timeout 60m -v -run TestFresh ./cmd/kaflow

soak: ## watch for long: 14 simulated days, a flood, every packet counted over minutes (root); make test runs short forms
	SOAK=long LAB=require $(GO) test -count 1 -timeout 60m -v -run Soak ./monitor ./cmd/kaflow

generate: ## rebuild generated files (the embedded tables)
	$(GO) generate ./...

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
