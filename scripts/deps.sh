#!/usr/bin/env bash
# Installs the tools that the tests compare platter with, where that is possible. Tests skip what they do not find;
# with CI set a missing tool is an error.
set -euo pipefail
PATH="$PATH:/usr/sbin:/sbin" # where Debian keeps sgdisk and fsck, but not every user looks

tools=( # command:package
	/usr/lib/openssh/sftp-server:openssh-sftp-server
	b3sum:b3sum
	blkid:util-linux
	blockdev:util-linux
	cryptsetup:cryptsetup-bin
	ddrescue:gddrescue
	fio:fio
	flock:util-linux
	fsck.ext4:e2fsprogs
	fsck.vfat:dosfstools
	fusermount3:fuse3
	genisoimage:genisoimage
	jq:jq
	losetup:mount
	mcopy:mtools
	mkapfs:apfsprogs
	mke2fs:e2fsprogs
	mkfs.btrfs:btrfs-progs
	mkfs.exfat:exfatprogs
	mkfs.f2fs:f2fs-tools
	mkfs.ntfs:ntfs-3g
	mkfs.xfs:xfsprogs
	mksquashfs:squashfs-tools
	mkswap:util-linux
	nbdcopy:libnbd-bin
	nbdfuse:libnbd-bin
	nbdinfo:libnbd-bin
	nbdkit:nbdkit
	partx:util-linux
	pvcreate:lvm2
	qemu-img:qemu-utils
	qemu-io:qemu-utils
	qemu-nbd:qemu-utils
	qemu-system-x86_64:qemu-system-x86
	sfdisk:fdisk
	sgdisk:gdisk
	shellcheck:shellcheck
	socat:socat
	sshfs:sshfs
	strace:strace
)

# missing prints the commands, or with "packages" their packages, that are not there.
missing() {
	local tool
	for tool in "${tools[@]}"; do
		command -v "${tool%:*}" >/dev/null && continue
		if [ "${1-}" = packages ]; then echo "${tool#*:}"; else echo "${tool%:*}"; fi
	done
}

packages=$(missing packages)
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq || echo "apt-get update failed; going on with the package lists that are here"
	# All at once takes a third of the time. If this release lacks one, each by itself, so that it does not keep the others away.
	echo "installing ${packages//$'\n'/ }"
	# shellcheck disable=SC2086 # one word a package
	apt-get install -qq -y --no-install-recommends $packages >/dev/null || for package in $packages; do
		echo "installing $package"
		apt-get install -qq -y --no-install-recommends "$package" >/dev/null || echo "could not install $package"
	done
fi

absent=$(missing)
if [ -n "$absent" ]; then
	echo "not found: ${absent//$'\n'/ }"
	if [ -n "${CI-}" ]; then exit 1; fi
	echo "the tests that need them are skipped"
fi
