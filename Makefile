.PHONY: help build test lint demo clean

help:
	@echo 'make build   ./platter, one static file'
	@echo 'make demo    back up three versions of a disk and restore two of them, in ./platter-demo'
	@echo 'make test    every test, the race detector and the cross builds'
	@echo 'make lint    vet, gofmt, staticcheck, shellcheck and the module files'
	@echo 'make clean   remove what the others made'

build:
	CGO_ENABLED=0 go build -trimpath -o ./platter ./cmd/platter

test:
	./scripts/test.sh

lint:
	go vet ./...
	! gofmt -l . | grep .
	go tool staticcheck ./...
	shellcheck scripts/*.sh .ci/run
	go mod verify
	go mod tidy -diff

demo:
	./scripts/demo.sh

clean:
	rm -rf platter platter-demo
