#!/usr/bin/env bash
# make bench: every Go benchmark for a fixed time, and a table of them. PLATTER_BENCH=full takes the sizes that the goals
# speak of, and minutes longer. Arguments are packages; what go test printed goes to FILE with -o FILE, for benchstat.
set -euo pipefail
cd "$(dirname "$0")/.."

raw=$(mktemp)
trap 'rm -f "$raw"' EXIT
out=''
while getopts 'o:' option; do
	case $option in
	o) out=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
if [ $# = 0 ]; then set -- ./...; fi

# A turn of those over disks takes seconds, so they get a number of turns; the others a time.
run() { # run BENCHTIME PACKAGE...
	local time=$1
	shift
	[ $# = 0 ] || go test -run '^$' -bench . -benchmem -timeout 1h -benchtime "$time" "$@" | tee -a "$raw" >&2
}
of_disks='/snapshot(/(backup|restore|heal))?$'
mapfile -t small < <(go list "$@" | grep -vE "$of_disks")
mapfile -t disks < <(go list "$@" | grep -E "$of_disks")
run 300ms ${small[@]+"${small[@]}"}
run 2x ${disks[@]+"${disks[@]}"}

# The table, and beneath it what one core more and the version before are worth.
awk '
/^pkg:/ { pkg = $2; sub(/^platter\//, "", pkg) }
/^Benchmark/ {
	name = $1; sub(/^Benchmark/, "", name); sub(/-[0-9]+$/, "", name)
	ns = ""; speed = "-"; bytes = "-"; allocs = "-"; other = ""
	for (i = 3; i < NF; i += 2) {
		if ($(i + 1) == "ns/op") ns = $i
		else if ($(i + 1) == "MB/s") speed = sprintf("%.0f", $i * 1e6 / 1048576)
		else if ($(i + 1) == "B/op") bytes = $i
		else if ($(i + 1) == "allocs/op") allocs = $i
		else other = other sprintf("  %s %s", $i, $(i + 1))
	}
	took[pkg " " name] = ns
	line[++n] = sprintf("%-12s %-34s %12s %8s %11s %9s%s", pkg, name, ns == "" ? "-" : sprintf("%.3f", ns / 1e6), speed, bytes, allocs, other)
}
END {
	printf "\n%-12s %-34s %12s %8s %11s %9s\n", "package", "benchmark", "ms/op", "MiB/s", "B/op", "allocs/op"
	for (i = 1; i <= n; i++) print line[i]
	print ""
	for (key in took) {
		other = key
		if (sub(/=1$/, "=2", other) && took[other] > 0)
			printf "%.2f times as fast with 2: %s\n", took[key] / took[other], substr(key, 1, length(key) - 2) | "sort -k 7"
		other = key
		if (sub(/Cutter\//, "CutterGuided/", other) && took[other] > 0)
			printf "%.2f times as fast guided: %s\n", took[key] / took[other], key | "sort -k 7"
	}
}' "$raw"
if [ -n "$out" ]; then cp "$raw" "$out"; fi
