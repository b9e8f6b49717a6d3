# Everything a developer runs. `make` alone builds bin/mltrain.

GO       ?= go
PKG      := github.com/mltrain/mltrain
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT   := $(shell git rev-parse --short=12 HEAD 2>/dev/null)
LDFLAGS  := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
TOOL     := $(GO) tool -modfile=tools/go.mod

# The packages with kernels of their own in assembly, and those that compute with them.
KERNELS  := ./internal/cpu/... ./internal/nn/... ./internal/autograd/...
# The packages in which goroutines share data.
RACE     := ./cmd/... ./internal/checkpoint/... ./internal/config/... ./internal/cpu/... ./internal/data/... ./internal/eval/judge/... \
            ./internal/template/... ./internal/tokenizer/... ./internal/ui/...

# How long `make fuzz` spends on each target, and what `make bench` runs.
FUZZTIME ?= 30s
BENCH    ?= .
COUNT    ?= 1

.PHONY: build test test-cuda test-noasm test-race lint fmt fuzz bench clean

# With a C compiler on Linux the program has the CUDA driver: see internal/gpu/cuda. No SDK is needed.
CC       ?= cc
CUDA     := $(if $(filter linux/amd64 linux/arm64,$(shell $(GO) env GOOS)/$(shell $(GO) env GOARCH)),$(shell command -v $(CC) >/dev/null 2>&1 && echo cuda))
CUDA_ABI := $(CURDIR)/internal/gpu/cuda/abi
CUDA_ENV := CGO_ENABLED=1 CGO_CFLAGS="-O2 -I$(CUDA_ABI)" CGO_LDFLAGS="-L$(CUDA_ABI)"

build: ## build bin/mltrain; with the CUDA driver where there is a C compiler
	$(if $(CUDA),$(CUDA_ENV),CGO_ENABLED=0) $(GO) build -trimpath $(if $(CUDA),-tags cuda) -ldflags '$(LDFLAGS)' -o bin/mltrain ./cmd/mltrain

test: ## every test
	$(GO) test ./...

test-cuda: ## build, vet and test what the tag cuda adds, on a stand-in for libcuda
	$(CUDA_ENV) $(GO) vet -tags cuda ./...
	$(CUDA_ENV) $(GO) test -tags cuda ./internal/gpu/cuda/...
	$(CUDA_ENV) $(GO) test -tags cuda -run 'CUDA|NoGPU' ./cmd/mltrain

test-noasm: ## the kernels in portable Go instead of assembly
	$(GO) test -tags noasm $(KERNELS)

test-race: ## the packages in which goroutines share data, under the race detector
	$(GO) test -race -short $(RACE)

lint: ## formatting, vet and golangci-lint
	@unformatted=$$(gofmt -l cmd internal $(wildcard kernels tools/quickstart)); \
	if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(TOOL) golangci-lint run ./...

fmt: ## format all Go files
	gofmt -w cmd internal $(wildcard kernels tools/quickstart)

fuzz: ## every fuzz target for FUZZTIME
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' cmd internal | xargs -n1 dirname | sort -u | while read -r dir; do \
		for target in $$(grep -rhoE '^func Fuzz[A-Za-z0-9_]+' $$dir/*_test.go | sed 's/func //' | sort -u); do \
			echo "== $$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) ./$$dir; \
		done; \
	done

bench: ## benchmarks; compare two runs with: go tool -modfile=tools/go.mod benchstat OLD NEW
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./...

clean: ## what the other targets made
	rm -rf bin

.PHONY: ptx
ptx: ## compile kernels/*.cu to kernels/ptx; needs clang-19 (19.1.7), no CUDA SDK
	kernels/build.sh

# What bench-peers compares with: a Python with torch, transformers, peft and trl; llm.c built for the CPU; GPT-2's tokenizer files and rows.
PYTHON    ?= python3
PEERS     ?= --rounds 3 --csv bench/peers.csv

.PHONY: bench-peers
bench-peers: build ## mltrain against PyTorch, PEFT, TRL and llm.c, in turn: see tools/bench_peers.py
	$(PYTHON) tools/bench_peers.py $(PEERS)

.PHONY: docs man
docs: build ## write docs/config.md from the source
	bin/mltrain docs config > docs/config.md.new && mv docs/config.md.new docs/config.md

man: build ## man pages of all commands in bin/man1
	bin/mltrain docs man bin/man1

.PHONY: quickstart quickstart-model quickstart-model-check
quickstart: build ## ask a small model, fine-tune it, ask it again
	tools/quickstart/quickstart.sh

quickstart-model: build ## make the quickstart's model and texts anew
	tools/quickstart/model.sh

quickstart-model-check: build ## the same, but only compare with those of the repository
	tools/quickstart/model.sh --check
