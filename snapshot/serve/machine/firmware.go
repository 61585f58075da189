package machine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
)

// ErrNoUEFI says that no UEFI firmware for QEMU is installed.
var ErrNoUEFI = errors.New("the disk boots by UEFI, and its firmware for QEMU is not installed: install ovmf (Debian, Ubuntu) or edk2-ovmf (Fedora, Arch), or use --bios")

// ovmf is where distributions keep the firmware: its code, and the variables that a new machine begins with.
var ovmf = [][2]string{
	{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
	{"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
	{"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
	{"/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},
	{"/usr/share/edk2-ovmf/x64/OVMF_CODE.fd", "/usr/share/edk2-ovmf/x64/OVMF_VARS.fd"},
	{"/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"},
	{"/opt/homebrew/share/qemu/edk2-x86_64-code.fd", "/opt/homebrew/share/qemu/edk2-i386-vars.fd"},
	{"/usr/local/share/qemu/edk2-x86_64-code.fd", "/usr/local/share/qemu/edk2-i386-vars.fd"},
}

// args are QEMU's arguments for the firmware. Its variables are a copy in folder.
func (f Firmware) args(folder string) ([]string, error) {
	switch f {
	case BIOS:
		// SeaBIOS copies what it prints to the serial port that this file names.
		port := filepath.Join(folder, "sercon-port")
		if err := os.WriteFile(port, []byte{0xf8, 0x03}, 0o600); err != nil {
			return nil, err
		}
		return []string{"-fw_cfg", "name=etc/sercon-port,file=" + escaped(port)}, nil
	case UEFI:
		for _, files := range ovmf {
			vars, err := os.ReadFile(files[1])
			if err != nil {
				continue
			}
			if _, err := os.Stat(files[0]); err != nil {
				continue
			}
			own := filepath.Join(folder, "vars")
			if err := os.WriteFile(own, vars, 0o600); err != nil {
				return nil, err
			}
			return []string{
				"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + escaped(files[0]),
				"-drive", "if=pflash,format=raw,unit=1,file=" + escaped(own),
			}, nil
		}
		return nil, ErrNoUEFI
	}
	return nil, fmt.Errorf("there is no firmware %q", f)
}

// Types of partitions that firmware boots from: GUIDs of a GPT, and the type byte of an MBR.
const (
	espGUID      = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	espType      = "0xef"
	biosBootGUID = "21686148-6449-6e6f-744e-656564454649"
)

// FirmwareOf returns the firmware that a disk is made for. If it is made for both, that is BIOS: UEFI often needs variables
// that were in the old machine, not on the disk.
func FirmwareOf(disk image.Disk, d *anatomy.Disk) Firmware {
	has := func(types ...string) bool {
		return d != nil && slices.ContainsFunc(d.Partitions, func(p anatomy.Partition) bool { return slices.Contains(types, p.Type) })
	}
	if has(biosBootGUID) || !has(espGUID, espType) {
		return BIOS
	}
	code := make([]byte, 440) // of the master boot record, before the table
	if n, err := disk.ReadAt(code, 0); n < len(code) && err != nil && !errors.Is(err, io.EOF) {
		return UEFI
	}
	if d.Table == anatomy.MBR && slices.ContainsFunc(code, func(b byte) bool { return b != 0 }) {
		return BIOS
	}
	return UEFI
}

// BusOf returns the bus that a system on the disk is sure to know. Windows has no driver for virtio of its own, and a
// machine's own disk may have been installed without one.
func BusOf(d *anatomy.Disk, device bool) Bus {
	windows := d != nil && slices.ContainsFunc(d.Partitions, func(p anatomy.Partition) bool {
		return p.Content != nil && (p.Content.Type == "ntfs" || p.Content.Type == "BitLocker")
	})
	if windows || device {
		return SATA
	}
	return Virtio
}
