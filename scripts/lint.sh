#!/usr/bin/env bash
# make lint: golangci-lint as .golangci.yml says, the words that scripts/words refuses, the shell scripts and the module files.
# The linter is a module of its own, scripts/tools, so that platter's go.mod lists only what platter is made of. Its first
# build takes about 90 s.
set -euo pipefail
cd "$(dirname "$0")/.."

linter=$(go -C scripts/tools tool -n golangci-lint)
"$linter" run
go run ./scripts/words
if command -v shellcheck >/dev/null; then
	shellcheck scripts/*.sh .ci/run
else
	echo "shellcheck not found: the shell scripts are not checked"
	[ -z "${CI-}" ] || exit 1
fi
go mod verify
go mod tidy -diff
