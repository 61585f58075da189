#!/usr/bin/env bash
# make torture: the randomized tests for hours instead of minutes, the short tests of every package under the race
# detector, and every fuzz target for FUZZTIME (60s).
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/sbin:/sbin"

PLATTER_TORTURE=1 go test -count=1 -timeout 6h ./...
CGO_ENABLED=1 go test -race -short -count=1 -timeout 6h ./...

# Go may spend all of the time on making a failing input smaller, so that gets a second.
grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r package; do
	grep -h --include='*_test.go' -o '^func Fuzz[A-Za-z0-9]*' "$package"/*_test.go | sed 's/^func //' | while read -r target; do
		echo "=== $target in $package"
		go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-60s}" -fuzzminimizetime 1s
	done
done
