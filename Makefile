# Everything goes through the go command; tools are pinned in .tools.mod.

GO      ?= go
PROGRAM := ./server/openhands-local
FUZZTIME ?= 20s

.PHONY: build run test generate bump check fuzz cover bench faults interop vuln dist image webui page

build: ## the program, into .bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o .bin/openhands-local $(PROGRAM)

run: ## serve on http://localhost:3000
	$(GO) run $(PROGRAM)

test: ## all tests
	$(GO) test ./...

generate: ## all of gen/ anew, and the coverage page
	$(GO) generate ./gen
	$(GO) run ./server/workshop/coverage >.coverage.tmp && mv .coverage.tmp server/openhands-local/COVERAGE.md

bump: ## SPEC=FILE-or-URL [DRY=1] [USES=HAR]: another version of the contract
	@test -n "$(SPEC)" || { echo "bump: name a document: make bump SPEC=FILE-or-URL [DRY=1] [USES=HAR]"; exit 2; }
	@$(GO) run ./server/workshop/bump $(if $(DRY),-dry) $(if $(USES),-uses "$(USES)") "$(SPEC)"

check: generate ## what must hold before a commit
	git diff --exit-code -- gen server/openhands-local/COVERAGE.md
	test -z "$$(git ls-files '*.go' | grep -v '\.gen\.go$$' | xargs gofmt -l | tee /dev/stderr)"
	$(GO) vet ./...
	$(GO) tool -modfile=.tools.mod staticcheck ./...
	$(GO) tool -modfile=.tools.mod actionlint
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null $(PROGRAM)
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 $(GO) build -o /dev/null $(PROGRAM)
	@$(GO) env CGO_ENABLED | grep -q 1 && command -v $$($(GO) env CC) >/dev/null || { echo "check: the race detector needs cgo and a C compiler ($$($(GO) env CC)): install one"; exit 1; }
	$(GO) test -race -shuffle=on ./...

fuzz: ## each fuzz target for FUZZTIME
	@set -e; for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p; \
	  done; done

cover: ## line coverage of all packages by all tests
	$(GO) test -coverpkg=./... -coverprofile=.cover.out ./... && $(GO) tool cover -func=.cover.out | tail -1

bench: ## ratios against ceilings measured in the same run, for benchstat, and a table
	$(GO) test -run '^$$' -bench . -benchtime=2s ./... | $(GO) run ./server/workshop/benchtable

faults: ## kill -9, power cuts, full disks, bombs and the like, in their long form: a table
	@export OPENHANDS_LOCAL_FAULTS=long; \
	$(GO) test -count=1 -timeout 15m -v -run '^TestFault' -skip '^TestFaultClients$$' ./... >.faults.out 2>&1; status=$$?; \
	$(GO) test -race -count=1 -v -run '^TestFaultClients$$' ./server >>.faults.out 2>&1 || status=1; \
	awk -f .ci/faults.awk .faults.out; exit $$status

interop: ## real clients and other people's test suites
	bash .ci/interop/run

vuln: ## known vulnerabilities that the program can reach (asks Go's database of them)
	$(GO) tool -modfile=.tools.mod govulncheck ./...

dist: ## archives, wheels, npm packages and images for all platforms, and their checksums, into .dist/
	$(GO) run ./server/workshop/dist

image: ## an image of the program for Docker and Podman, into .dist/image/
	$(GO) run ./server/workshop/dist -o .dist/image -only image,sbom linux/$$($(GO) env GOARCH)

webui: ## the web UI of FRONTEND=DIR in a real browser, and the picture of it
	bash .ci/webui/run .images/webui.png

page: ## the page at / in a real browser, and the picture of it
	bash .ci/page/run .images/page.png
