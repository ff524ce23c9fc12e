# What a newcomer runs: make run, make test.

GO      ?= go
UNIT     = $(shell $(GO) list ./... | grep -v '/test/e2e$$')

.PHONY: run build test setup check unit e2e interop crash fuzz soak generate bench

run: build ## serve with no configuration, on the loopback interface
	bin/lumen serve

build:
	$(GO) build -trimpath -o bin/lumen ./cmd/lumen

test: setup check unit e2e crash fuzz ## everything that CI runs

setup: ## install the programs that the tests talk to
	scripts/setup

check: ## format, vet, staticcheck, generated files, imports (the go command does not see that their test reads the tree)
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test -count=1 ./test
	@before=$$(git diff | sha256sum); $(GO) generate ./... && [ "$$before" = "$$(git diff | sha256sum)" ] || \
		{ echo "make generate changes files: commit what it wrote"; git diff --stat; exit 1; }

unit: ## tests of the packages, those against DCMTK and pydicom among them
	$(GO) test -race $(UNIT)

e2e: ## the built binary against DCMTK, pydicom and HTTP
	$(GO) test -count=1 -timeout 15m ./test/e2e

interop: setup ## what DCMTK and Orthanc make of us, and we of them: the matrix, which runs with e2e too
	CI=true $(GO) test -count=1 -v -timeout 15m -run 'Interop|CollectionGoesIn' ./test/e2e

crash: ## 50 times kill -9 under load
	LUMEN_CRASHES=50 $(GO) test -count=1 -timeout 15m -run Crash ./test/e2e

fuzz: ## every fuzz target, FUZZTIME=20000x each
	scripts/fuzz

soak: build ## the long runs, written into docs/FIGURES.md: the bench, a million studies, SOAK_ATTACK=180 s of attacks, 10 million fuzz executions in SOAK_TIME=7200 s
	scripts/figures
	scripts/attack
	scripts/soak ./dicom

generate: ## the DICOM tables, from DCMTK's dictionary, and those of the conformance statement
	$(GO) generate ./...

bench: build ## measure beside Orthanc, storescp and nginx on this machine
	$(GO) run ./bench -lumen bin/lumen
