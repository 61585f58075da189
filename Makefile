.PHONY: help build test torture lint bench bench-peers demo release clean

help:
	@echo 'make build   ./platter, one static file'
	@echo 'make demo    back up three versions of a disk and restore two of them, in ./platter-demo'
	@echo 'make test    every test, the race detector and the cross builds'
	@echo 'make torture   the tests that try things out, for hours, and every fuzz target'
	@echo 'make lint    vet, gofmt, staticcheck, shellcheck and the module files'
	@echo 'make bench   every benchmark, and a table of them, in some three minutes'
	@echo 'make bench-peers IMAGES=DIR   the versions of a disk in DIR with platter and each peer found, and the ratios'
	@echo 'make release VERSION=v1.2.3   programs, archives and packages for every platform, in ./dist'
	@echo 'make clean   remove what the others made'

build:
	CGO_ENABLED=0 go build -trimpath -o ./platter ./cmd/platter

test:
	./scripts/test.sh

torture:
	./scripts/torture.sh

lint:
	go vet ./...
	! gofmt -l . | grep .
	go tool staticcheck ./...
	shellcheck scripts/*.sh .ci/run
	go mod verify
	go mod tidy -diff

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
