.PHONY: help build quick test torture lint vuln bench bench-peers demo release clean

help:
	@echo 'make build   ./platter, one static file'
	@echo 'make demo    back up three versions of a disk and restore two of them, in ./platter-demo'
	@echo 'make quick   lint and the short tests of what changed since the last time, for the edit loop'
	@echo 'make test    lint, every test, the race detector and the cross builds'
	@echo 'make torture   the randomized tests for hours, and every fuzz target; for the night'
	@echo 'make lint    golangci-lint (.golangci.yml), shellcheck and the module files'
	@echo 'make vuln    known vulnerabilities in the dependencies; needs vuln.go.dev'
	@echo 'make bench   every benchmark, and a table of them, in some three minutes'
	@echo 'make bench-peers IMAGES=DIR   the versions of a disk in DIR with platter and each peer found, and the ratios'
	@echo 'make release VERSION=v1.2.3   programs, archives and packages for every platform, in ./dist'
	@echo 'make clean   remove what the others made'

build:
	CGO_ENABLED=0 go build -trimpath -o ./platter ./cmd/platter

quick:
	./scripts/quick.sh

test:
	./scripts/test.sh

torture:
	./scripts/torture.sh

lint:
	./scripts/lint.sh

vuln:
	"$$(go -C scripts/tools tool -n govulncheck)" ./...

bench:
	./scripts/bench.sh

bench-peers:
	./scripts/peers.sh $(IMAGES)

demo:
	./scripts/demo.sh

release:
	go -C scripts/release run . "$(VERSION)"

clean:
	rm -rf platter platter-demo dist peers.tsv peers.md
