#!/usr/bin/env bash
# make torture: the tests that try things out, for hours instead of minutes, and every fuzz target for FUZZTIME (60s).
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/sbin:/sbin"

PLATTER_TORTURE=1 go test -count=1 -timeout 6h ./...

# Making what was found smaller may take all of the time there is, so it gets little.
grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r package; do
	grep -h --include='*_test.go' -o '^func Fuzz[A-Za-z0-9]*' "$package"/*_test.go | sed 's/^func //' | while read -r target; do
		echo "=== $target in $package"
		go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-60s}" -fuzzminimizetime 1s
	done
done
