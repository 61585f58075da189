#!/usr/bin/env bash
# live-backup.sh QMP-SOCKET NODE NAME [FLAG...]: backs up a disk of a running QEMU machine as it is at one moment, while the
# machine goes on. NODE is the disk's block node, NAME that of the versions, and FLAGs are for 'platter backup'.
# Needs QEMU 5.2 or later, qemu-img, jq and socat. In the environment:
#   PLATTER        the program (default: platter)
#   FREEZE, THAW   commands to run before and after that moment, such as virsh domfsfreeze and domfsthaw
#   OVERLAY_DIR    a folder that QEMU can write to (default: TMPDIR or /tmp)
#   OVERLAY_SIZE   bytes to reserve there (default: as many as the disk has)
#
# QEMU copies what the machine overwrites meanwhile to an overlay first (blockdev-backup with sync=none), and exports the disk
# as the overlay shows it. A write that QEMU cannot copy fails in the machine. So the overlay's space is reserved before it begins.
#
# shellcheck disable=SC2016 # the variables in single quotes are jq's
set -euo pipefail

fail() {
	echo "live-backup: $*" >&2
	exit 1
}

[ $# -ge 3 ] || fail "usage: live-backup.sh QMP-SOCKET NODE NAME [FLAG...]"
for tool in fallocate jq qemu-img setsid socat "${PLATTER:-platter}"; do
	command -v "$tool" >/dev/null || fail "$tool not found"
done
monitor=$1 node=$2 name=$3
shift 3

# answer waits for the reply to a command, passes over events, and sets reply.
answer() {
	while IFS= read -r -t 60 reply <&"$from"; do
		case $(jq -r 'if has("return") then "return" elif has("error") then "error" else "" end' <<<"$reply") in
		return) return 0 ;;
		error) return 1 ;;
		esac
	done
	reply='{"error":{"desc":"QEMU does not answer"}}'
	return 1
}

# try runs a command of QMP: its name, then arguments of jq. The last one makes the arguments of the command.
try() {
	local command=$1
	shift
	jq -cn --arg command "$command" "${@:1:$#-1}" "{execute: \$command, arguments: ${!#}}" >&"$to"
	answer
}

qmp() { try "$@" || fail "$1: $(jq -r .error.desc <<<"$reply")"; }

# insist repeats a command until something else has ended that makes it fail, for at most 10 seconds.
insist() {
	for _ in $(seq 100); do
		try "$@" && return 0
		sleep 0.1
	done
	echo "live-backup: $1: $(jq -r .error.desc <<<"$reply")" >&2
	return 1
}

undo=() # functions, to be called last first
remove_overlay() { insist blockdev-del '{"node-name": "platter-overlay"}'; }
end_job() {
	try block-job-cancel '{device: "platter-overlay", force: true}' ||
		fail "QEMU ended the copying by itself. If a version was stored, it is a mixture: forget it"
}
stop_server() { try nbd-server-stop '{}'; }
thaw() { [ -z "${THAW-}" ] || sh -c "$THAW"; }

cleanup() {
	local status=$? i failed=
	trap '' HUP INT TERM
	for ((i = ${#undo[@]} - 1; i >= 0; i--)); do
		("${undo[i]}") || failed=1
	done
	if [ -n "$failed" ]; then
		echo "live-backup: the machine may still use $dir: end that before you remove it" >&2
		[ "$status" != 0 ] || status=1
	else
		rm -rf "$dir"
	fi
	exit "$status"
}

dir=$(mktemp -d "${OVERLAY_DIR:-${TMPDIR:-/tmp}}/platter-live.XXXXXX")
trap cleanup EXIT
trap '' HUP INT TERM # until all is set up: half of it could not be undone
coproc setsid socat - "UNIX-CONNECT:$monitor"
exec {from}<&"${COPROC[0]}" {to}>&"${COPROC[1]}"

qmp qmp_capabilities '{}'
qmp query-named-block-nodes '{flat: true}'
size=$(jq -r --arg node "$node" 'first(.return[] | select(."node-name" == $node)).image."virtual-size" // empty' <<<"$reply")
[ -n "$size" ] || fail "the machine has no block node $node"
qemu-img create -q -f qcow2 "$dir/overlay.qcow2" "$size"
reserve=${OVERLAY_SIZE:-$((size + size / 1024 + 1048576))} # with tables
fallocate --keep-size --length "$reserve" "$dir/overlay.qcow2" ||
	fail "cannot reserve $reserve bytes in $dir: name another folder with OVERLAY_DIR, or reserve less with OVERLAY_SIZE. If that is too little, writes fail in the machine"

qmp blockdev-add --arg file "$dir/overlay.qcow2" --arg node "$node" '{driver: "qcow2", "node-name": "platter-overlay",
	file: {driver: "file", filename: $file}, backing: $node}'
undo+=(remove_overlay thaw)
[ -z "${FREEZE-}" ] || sh -c "$FREEZE" || fail "FREEZE failed"
qmp blockdev-backup --arg node "$node" '{"job-id": "platter-overlay", device: $node, target: "platter-overlay", sync: "none"}' # the moment
undo=(remove_overlay end_job)
thaw || fail "THAW failed"

qmp nbd-server-start --arg path "$dir/nbd.sock" '{addr: {type: "unix", data: {path: $path}}}'
undo+=(stop_server)
qmp block-export-add --arg node "$node" '{type: "nbd", id: "platter", "node-name": "platter-overlay", name: $node}'

trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
uri="nbd+unix:///$(jq -rn --arg node "$node" '$node | @uri')?socket=$(jq -rn --arg path "$dir/nbd.sock" '$path | @uri')"
"${PLATTER:-platter}" backup "$uri" --name "$name" "$@"
