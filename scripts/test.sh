#!/usr/bin/env bash
# make test: lint, every test, the short tests of packages with goroutines under the race detector, and a static binary for
# every platform.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/sbin:/sbin"

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

step() { # step TITLE COMMAND...
	local start=$SECONDS
	printf '\n=== %s\n' "$1"
	shift
	"$@"
	printf -- '--- ok after %d s\n' $((SECONDS - start))
}

tests() { # tests ARGUMENT...: go test, and the slowest tests
	go test -json -count=1 -timeout 40m "$@" | "$out/slowest"
}

# The race detector slows the tests down about tenfold. So it gets the short tests of the packages that start goroutines.
# make torture runs it over all packages, the scripts and the command line included. TestKeySchedules lets one goroutine run
# at a time, so the detector cannot find anything there.
race() {
	if ! command -v "$(go env CC)" >/dev/null; then
		echo "no C compiler, which the race detector needs"
		[ -z "${CI-}" ] || exit 1
		return 0
	fi
	CGO_ENABLED=1 tests -race -short -skip '^TestKeySchedules$' ./index ./repo/... ./snapshot ./snapshot/backup/... ./snapshot/diskmap \
		./snapshot/heal ./snapshot/restore ./snapshot/image ./snapshot/image/nbd/... ./snapshot/overlay ./snapshot/serve/...
}

# These binaries are thrown away, so they need no version from git.
builds() {
	local target
	for target in "$(go env GOHOSTOS)/$(go env GOHOSTARCH)" linux/arm64 linux/arm windows/amd64 darwin/arm64; do
		echo "$target"
		CGO_ENABLED=0 GOOS=${target%/*} GOARCH=${target#*/} go build -trimpath -buildvcs=false \
			-o "$out/${target/\//-}" ./cmd/platter
	done
}

static() {
	local binary
	binary="$out/$(go env GOHOSTOS)-$(go env GOHOSTARCH)"
	go version -m "$binary" | grep CGO_ENABLED=0
	if command -v ldd >/dev/null && ldd "$binary" >/dev/null 2>&1; then
		echo "$binary is linked dynamically:"
		ldd "$binary"
		exit 1
	fi
}

go build -o "$out/slowest" ./scripts/slowest
step "tools to compare with" ./scripts/deps.sh
step "lint" ./scripts/lint.sh
step "tests" tests ./...
step "short tests under the race detector" race
step "builds for other platforms" builds
step "the binary is static" static
printf '\nall passed in %d s\n' "$SECONDS"
