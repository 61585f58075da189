#!/usr/bin/env bash
# make demo: back up three versions of a disk, restore two of them, and compare every byte. A version is mounted too, where
# FUSE works. Needs Go, git and make, no root. Each command is printed before it runs; you can run it again in this folder.
set -euo pipefail
cd "$(dirname "$0")/.."

bold='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi

title() { printf '\n%s# %s%s\n' "$bold" "$1" "$plain"; }
run() {
	printf '%s$ %s%s\n' "$bold" "$1" "$plain"
	eval "$1"
}

# The caller's own repository and password must not be used.
unset "${!PLATTER_@}"

title 'Build platter and make a new repository'
run 'CGO_ENABLED=0 go build -trimpath -o ./platter ./cmd/platter'
run 'rm -rf platter-demo && mkdir platter-demo'
run 'export PLATTER_REPOSITORY=platter-demo/repository PLATTER_PASSWORD=demo'
run './platter init'

title 'Monday: a disk with a partition table, FAT32 and ext4'
run 'go run ./scripts/mkdisk -size 256M platter-demo/laptop.img'
run 'cp platter-demo/laptop.img platter-demo/monday.img'
run './platter backup platter-demo/laptop.img --name laptop'

title 'Tuesday: new pictures, a longer log, changed pages of a database, a copied document'
run 'go run ./scripts/mkdisk -version 2 platter-demo/laptop.img'
run './platter backup platter-demo/laptop.img --name laptop'

title 'Wednesday: a new kernel and a new tool replace old ones'
run 'go run ./scripts/mkdisk -version 3 platter-demo/laptop.img'
run './platter backup platter-demo/laptop.img --name laptop'

title 'What is in the repository'
run './platter snapshots'
run './platter stats'
run './platter diff laptop~2 laptop'

title 'Restore Monday and Wednesday, and compare every byte'
run './platter restore laptop~2 platter-demo/restored-monday.img --verify'
run 'cmp platter-demo/monday.img platter-demo/restored-monday.img'
run './platter restore laptop platter-demo/restored-wednesday.img'
run 'cmp platter-demo/laptop.img platter-demo/restored-wednesday.img'

title 'Open Monday without restoring it, and compare every byte'
mounts() { # whether this user may open the device, and may mount
	[ "$(uname)" = Linux ] && (: <>/dev/fuse) 2>/dev/null || return 1
	if [ "$(id -u)" = 0 ]; then unshare --mount true 2>/dev/null; else command -v fusermount3 >/dev/null; fi
}
if mounts; then
	run 'mkdir platter-demo/monday'
	run "./platter mount laptop~2 platter-demo/monday --run 'ls -s \$dir && cmp \$dir/disk.img platter-demo/monday.img'"
else
	echo 'Skipped: that needs Linux, and the right to use FUSE.'
fi

title 'Read the whole repository and verify it'
run './platter check --read-data'

kib() { du -sk "$1" | cut -f1; }
printf '\n%sThree versions of a disk with %d MiB of data take %d MiB; both restores equal their originals. (%d s)%s\n' \
	"$bold" $(($(kib platter-demo/laptop.img) / 1024)) $(($(kib "$PLATTER_REPOSITORY") / 1024)) "$SECONDS" "$plain"
