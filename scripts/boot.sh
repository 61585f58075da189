#!/usr/bin/env bash
# boot.sh [PLATTER]: a disk that boots goes into a repository as a raw image, boots from there without being restored, comes out
# in every format, and each boots to its login prompt under qemu, without hardware help. Needs no root, and of Debian:
# apt-get install busybox-static cpio dosfstools e2fsprogs fdisk mtools qemu-system-x86 syslinux syslinux-common
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/sbin:/sbin"

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
platter=${1-}
if [ -z "$platter" ]; then
	platter=$out/platter
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$platter" ./cmd/platter
fi
platter=$(realpath "$platter")

# The kernel of Debian's cloud images, which is small, without installing it.
kernel() {
	local name
	(
		cd "$out"
		name=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
		apt-get download -qq "$name" 2>/dev/null
		dpkg -x linux-image-*.deb kernel
	)
	cp "$out"/kernel/boot/vmlinuz-* "$out/vmlinuz"
}

# The first file system in memory: it loads what it takes to read the disk, and goes on there.
initramfs() {
	local dir=$out/initramfs modules module
	mkdir -p "$dir"/{bin,dev,proc,root,modules}
	cp "$(command -v busybox)" "$dir/bin/busybox"
	modules=$(find "$out/kernel" -type d -path '*/modules/*' -name kernel -print -quit)
	for module in virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk crc16 libcrc32c crc32c_generic mbcache jbd2 ext4; do
		find "$modules" -name "$module.ko*" -exec cp {} "$dir/modules/" \;
	done
	find "$dir/modules" -name '*.xz' -exec unxz {} +
	cat >"$dir/init" <<-'END'
		#!/bin/busybox sh
		/bin/busybox mount -t devtmpfs dev /dev
		/bin/busybox mount -t proc proc /proc
		for try in 1 2 3 4; do # each needs others, in an order that changes
			for module in /modules/*.ko; do /bin/busybox insmod $module 2>/dev/null; done
		done
		until /bin/busybox mount -t ext4 -o ro /dev/vda2 /root 2>/dev/null; do /bin/busybox sleep 1; done
		/bin/busybox mount -o move /dev /root/dev
		exec /bin/busybox switch_root /root /sbin/init
	END
	chmod +x "$dir/init"
	(cd "$dir" && find . | cpio --quiet -o -H newc | gzip -1) >"$out/initramfs.gz"
}

# What runs from the disk.
root() {
	local dir=$out/root
	mkdir -p "$dir"/{bin,dev,etc,proc,sbin}
	cp "$(command -v busybox)" "$dir/bin/busybox"
	ln -s ../bin/busybox "$dir/sbin/init"
	for name in getty login; do ln -s ../bin/busybox "$dir/sbin/$name"; done
	echo '::respawn:/sbin/getty -L ttyS0 115200 vt100' >"$dir/etc/inittab"
	echo 'kept and given back by platter' >"$dir/etc/issue"
	echo 'root::0:0:root:/:/bin/busybox' >"$dir/etc/passwd"
	head -c 20M /dev/urandom >"$dir/ballast"
}

disk() { # disk FILE
	truncate -s 160M "$1"
	sfdisk -q "$1" <<-'END'
		label: dos
		start=2048, size=98304, type=c, bootable
		start=100352, size=200000, type=83
	END
	truncate -s $((98304 * 512)) "$out/boot.fat"
	mkfs.vfat "$out/boot.fat" >/dev/null
	mcopy -i "$out/boot.fat" "$out/vmlinuz" "$out/initramfs.gz" ::
	printf 'default linux\nlabel linux\n kernel vmlinuz\n append initrd=initramfs.gz console=ttyS0 quiet\n' | mcopy -i "$out/boot.fat" - ::syslinux.cfg
	syslinux --install "$out/boot.fat"
	truncate -s $((200000 * 512)) "$out/root.ext4"
	mkfs.ext4 -q -d "$out/root" "$out/root.ext4"
	dd if=/usr/lib/syslinux/mbr/mbr.bin of="$1" conv=notrunc status=none
	dd if="$out/boot.fat" of="$1" bs=1M seek=1 conv=notrunc,sparse status=none
	dd if="$out/root.ext4" of="$1" bs=1M seek=49 conv=notrunc,sparse status=none
}

boots() { # boots FILE FORMAT
	local log=$out/console
	: >"$log"
	timeout 180 qemu-system-x86_64 -machine pc,accel=tcg -m 256 -display none -nic none -no-reboot -snapshot -serial "file:$log" \
		-drive "file=$1,format=$2,if=virtio" 2>"$out/qemu" &
	local qemu=$!
	until grep -q 'login:' "$log"; do
		if ! kill -0 "$qemu" 2>/dev/null; then
			echo "$2: no login prompt; the console said:"
			tail -n 20 "$log" "$out/qemu"
			exit 1
		fi
		sleep 1
	done
	kill "$qemu"
	wait "$qemu" 2>/dev/null || true
	echo "$2: $(grep -a -o 'kept and given back.*' "$log" | head -1), $(grep -a -o '[a-z()]* login:' "$log" | head -1)"
}

kernel
initramfs
root
disk "$out/disk.raw"

export PLATTER_REPOSITORY=$out/repo PLATTER_PASSWORD=secret PLATTER_CACHE_DIR=$out/cache
"$platter" init --quiet
"$platter" backup "$out/disk.raw" --name bootable --quiet >/dev/null
"$platter" boot bootable --check --timeout 3m
"$platter" restore bootable "$out/back.raw" --quiet
boots "$out/back.raw" raw
for format in ${FORMATS-qcow2 vmdk vdi vhdx vhd}; do
	"$platter" export bootable "$out/back.$format" --verify --quiet
	boots "$out/back.$format" "$(if [ "$format" = vhd ]; then echo vpc; else echo "$format"; fi)"
done
