#!/usr/bin/env bash
# Builds one release twice, from two copies of HEAD that differ in all that must not matter, and compares every byte.
# The second build takes compiled packages from Go's cache, and only links and packs again: both builds take about a
# minute of processor time. FRESH=1 compiles everything again, from an empty cache.
set -euo pipefail
cd "$(dirname "$0")/.."

version=v0.0.0-check
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
commit=$(git rev-parse HEAD)

copy() { # copy FOLDER
	git clone --quiet --no-checkout . "$1"
	git -C "$1" -c advice.detachedHead=false checkout --quiet "$commit"
}

go -C scripts/release vet .
go -C scripts/release test .

copy "$work/a"
go -C "$work/a/scripts/release" run . $version

# Another folder, umask, time zone and language; files of another date; settings that would change the program.
copy "$work/another folder/b"
find "$work/another folder/b" -type f -not -path '*/.git/*' -exec touch -t 200102030405 {} +
if [ -n "${FRESH-}" ]; then
	export GOCACHE="$work/cache"
fi
(
	umask 077
	export TZ=Asia/Kolkata LC_ALL=C GOAMD64=v3 GOARM=7 SOURCE_DATE_EPOCH=1
	go -C "$work/another folder/b/scripts/release" run . $version
)

diff -r "$work/a/dist" "$work/another folder/b/dist"
(cd "$work/a/dist" && if command -v sha256sum >/dev/null; then sha256sum --check --quiet SHA256SUMS; else shasum -a 256 -c SHA256SUMS; fi)

# The packages open with the tools of their distributions, where these are there.
if command -v dpkg-deb >/dev/null; then
	for deb in "$work"/a/dist/*.deb; do
		dpkg-deb --info "$deb" >/dev/null
		dpkg-deb --contents "$deb" >"$work/contents"
		grep -q ' ./usr/bin/platter$' "$work/contents"
	done
fi
printf 'two builds of %s: %d files, the same bytes, in %d s\n' "$commit" "$(find "$work/a/dist" -type f | wc -l)" "$SECONDS"
