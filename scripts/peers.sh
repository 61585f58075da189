#!/usr/bin/env bash
# Backs up versions of a disk with platter and with each peer found on PATH, side by side, and writes the ratios.
#
#	peers.sh [-n RUNS] [-o PREFIX] [-s SIZE] [-t "TOOL …"] [IMAGES]
#
# IMAGES is a folder; its *.img in the order of their names are the versions. Without it, three versions of a made disk of
# SIZE (512M) are taken. Steps: each version, the last one unchanged, restore, check of all data. Every tool reads the
# disk under one path, warm in the page cache, and in full each time; the tools take turns at each step, another one first
# in each run, and medians over RUNS (3) count. What was restored is compared with the disk. PREFIX.tsv (peers.tsv) gets a
# row a step, PREFIX.md the tables. Scratch goes to TMPDIR: some times the size of the data in IMAGES.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
	echo "peers.sh: $1" >&2
	exit "${2:-1}"
}

runs=3 prefix=peers size=512M tools='platter restic borg kopia desync'
while getopts 'n:o:s:t:' option; do
	case $option in
	n) runs=$OPTARG ;;
	o) prefix=$OPTARG ;;
	s) size=$OPTARG ;;
	t) tools="platter ${OPTARG//platter/}" ;;
	*) fail 'usage: peers.sh [-n RUNS] [-o PREFIX] [-s SIZE] [-t "TOOL …"] [IMAGES]' 2 ;;
	esac
done
shift $((OPTIND - 1))
[[ $runs =~ ^[1-9][0-9]*$ ]] || fail "-n $runs: want a number of runs" 2
[ $# -le 1 ] || fail 'want one folder of images' 2
images=${1-}
[ -z "$images" ] || images=$(cd "$images" && pwd) || exit

gnutime=''
for candidate in "$(type -P time || true)" "$(type -P gtime || true)"; do
	if [ -n "$candidate" ] && "$candidate" --version 2>&1 | grep -q GNU; then gnutime=$candidate && break; fi
done
[ -n "$gnutime" ] || fail 'GNU time is missing (Debian: apt-get install time; macOS: brew install gnu-time)'
for needed in go git cmp jq awk nproc; do type -P "$needed" >/dev/null || fail "$needed is missing"; done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir "$work/src" "$work/bin"
disk=$work/src/disk.img
tsv=$prefix.tsv
cores=$(nproc)

# No repository, password or cache of the caller's own has a place in here.
# shellcheck disable=SC2086 # each is a list of names
unset ${!PLATTER_@} ${!RESTIC_@} ${!BORG_@} ${!KOPIA_@}
export PLATTER_PASSWORD=pw RESTIC_PASSWORD=pw BORG_PASSPHRASE=pw KOPIA_PASSWORD=pw
export BORG_BASE_DIR=$work/borg XDG_CACHE_HOME=$work/cache KOPIA_CONFIG_PATH=$work/kopia/config
export KOPIA_CACHE_DIRECTORY=$work/kopia/cache KOPIA_LOG_DIR=$work/kopia/log KOPIA_CHECK_FOR_UPDATES=false

CGO_ENABLED=0 go build -trimpath -o "$work/bin/platter" ./cmd/platter
PATH=$work/bin:$PATH

found=()
for tool in $tools; do
	[[ $tool =~ ^(platter|restic|borg|kopia|desync)$ ]] || fail "$tool: no such peer is known" 2
	if type -P "$tool" >/dev/null; then found+=("$tool"); else echo "not on PATH: $tool" >&2; fi
done

version() {
	case $1 in
	platter) echo "platter of $(git describe --always --dirty)" ;;
	desync) echo "desync" ;; # it does not say
	kopia) echo "kopia $(kopia --version | cut -d ' ' -f 1)" ;;
	*) "$1" --version 2>/dev/null | head -n 1 | grep . || "$1" version | cut -d ' ' -f 1,2 ;;
	esac
}

# The steps of each tool; $r is its repository, $to an empty folder for what it restores.
init() {
	case $1 in
	platter) platter init "$r" ;;
	restic) restic init -r "$r" ;;
	borg) borg init -e repokey-blake2 "$r" ;;
	kopia)
		mkdir -p "$work/kopia"
		kopia repository create filesystem --path "$r" --block-hash BLAKE3-256
		kopia policy set --global --compression zstd
		;;
	desync) mkdir "$r" ;;
	esac >"$work/log" 2>&1
}

command_for() { # command_for TOOL STEP: sets cmd; empty where the tool cannot
	cmd=()
	case $1/$2 in
	platter/backup) cmd=(platter backup -r "$r" "$disk") ;;
	platter/restore) cmd=(platter restore -r "$r" latest "$to/disk.img") ;;
	platter/check) cmd=(platter check -r "$r" --read-data) ;;
	restic/backup) cmd=(restic -r "$r" backup --force "$disk") ;;
	restic/restore) # older ones have no --sparse and would write the zeros too
		if restic restore --help | grep -q -e --sparse; then cmd=(restic -r "$r" restore latest --sparse --target "$to"); fi
		;;
	restic/check) cmd=(restic -r "$r" check --read-data) ;;
	borg/backup) cmd=(borg create --files-cache disabled -C "zstd,1" "$r::{now:%s.%f}" "$disk") ;;
	borg/restore) cmd=(env -C "$to" borg extract --sparse "$r::$(borg list --last 1 --short "$r")") ;;
	borg/check) cmd=(borg check --verify-data "$r") ;;
	kopia/backup) cmd=(kopia snapshot create --force-hash 100 "$work/src") ;;
	kopia/restore) cmd=(kopia snapshot restore --write-sparse-files "$(kopia snapshot list --json | jq -r '.[-1].id')" "$to") ;;
	kopia/check) cmd=(kopia snapshot verify --verify-files-percent 100) ;;
	desync/backup) cmd=(desync make -n "$cores" -s "$r" "$r/disk.caibx" "$disk") ;;
	desync/restore) cmd=(desync extract -n "$cores" -s "$r" "$r/disk.caibx" "$to/disk.img") ;;
	desync/check) cmd=(desync verify -n "$cores" -s "$r") ;;
	esac
}

bad=0
step() { # step RUN TOOL STEP NAME: one row
	local status=0 wall user system peak r=$work/repo-$2 to=$work/to cmd
	rm -rf "$to" && mkdir "$to"
	command_for "$2" "$3"
	[ "${#cmd[@]}" -gt 0 ] || return 0
	cat "$disk" >/dev/null
	sync
	"$gnutime" -f '%e %U %S %M' -o "$work/time" "${cmd[@]}" >"$work/log" 2>&1 </dev/null || status=$?
	read -r wall user system peak < <(tail -n 1 "$work/time")
	local outcome=ok
	if [ "$status" != 0 ]; then
		outcome="failed with $status"
		tail -n 3 "$work/log" >&2
	elif [ "$3" = restore ]; then
		outcome=identical
		cmp "$(find "$to" -name disk.img)" "$disk" || outcome=DIFFERS
	fi
	case $outcome in ok | identical) ;; *) bad=1 ;; esac
	rm -rf "$to"
	printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$4" "$wall" "$(awk "BEGIN { print $user + $system }")" \
		$((peak / 1024)) "$(du -sk "$r" | awk '{ printf "%.1f", $1 / 1024 }')" "$outcome" | tee -a "$tsv"
}

each() { # each RUN STEP NAME: that step with all tools, another one first in each run
	local i n=${#found[@]}
	for ((i = 0; i < n; i++)); do step "$1" "${found[(i + $1 - 1) % n]}" "$2" "$3"; done
}

versions=()
if [ -n "$images" ]; then
	for image in "$images"/*.img; do [ ! -f "$image" ] || versions+=("$(basename "$image" .img)"); done
	[ "${#versions[@]}" -gt 0 ] || fail "no *.img in $images"
else
	versions=(v1 v2 v3)
fi
place() { # place VERSION: the disk is that version now
	if [ -n "$images" ]; then
		rm -f "$disk"
		cp --sparse=always "$images/$1.img" "$disk"
	elif [ "$1" = v1 ]; then
		rm -f "$disk"
		go run ./scripts/mkdisk -size "$size" "$disk"
	else
		go run ./scripts/mkdisk -version "${1#v}" "$disk"
	fi
}

printf 'run\ttool\tstep\twall s\tcpu s\tpeak MiB\trepository MiB\toutcome\n' | tee "$tsv"
for ((run = 1; run <= runs; run++)); do
	rm -rf "$work"/repo-* "$work/kopia"
	for tool in "${found[@]}"; do
		r=$work/repo-$tool
		init "$tool" || fail "$tool: $(tail -n 3 "$work/log")"
	done
	for v in "${versions[@]}"; do
		place "$v"
		each "$run" backup "$v"
	done
	each "$run" backup unchanged
	each "$run" restore restore
	each "$run" check check
done

{
	echo "Medians over $runs run(s) of $(printf '%s, ' "${versions[@]}")of $(($(wc -c <"$disk") >> 20)) MiB, on $cores cores; tools took turns at each step. Ratios are peer to platter."
	echo
	for tool in "${found[@]}"; do echo "- $(version "$tool")"; done
	awk -f scripts/peers.awk "$tsv"
} | tee "$prefix.md"
[ "$bad" = 0 ] || fail "some steps failed or restored other bytes: see $tsv"
