package virtual

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"platter/snapshot/image"
)

// maxQcowChain limits the files of a chain: each takes a descriptor, and a step of every read.
const maxQcowChain = 256

// openQcowBacking opens a file's backing file. The name in the file may come from anyone, so nothing is opened
// without the user's consent.
func openQcowBacking(o *opening, h *qcowHeader, shared *qcowShared) (image.Disk, error) {
	if !o.FollowBacking {
		return nil, fmt.Errorf("%w: it is an overlay of another file, %q: give --follow-backing to read that file, and its backing files, "+
			"too, or make it whole with: qemu-img convert -O qcow2 %s NEW", ErrUnsupported, h.backing, o.path)
	}
	path, err := qcowBackingPath(o.path, h.backing)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open backing file of %s: %w", o.path, err)
	}
	if len(shared.chain) == 0 {
		top, err := os.Stat(o.path)
		if err != nil {
			return nil, fmt.Errorf("open backing file of %s: %w", o.path, err)
		}
		shared.chain = append(shared.chain, top)
	}
	for _, above := range shared.chain {
		if os.SameFile(above, info) {
			return nil, fmt.Errorf("%w: %s is in its own chain of backing files", ErrDamaged, path)
		}
	}
	if len(shared.chain) >= maxQcowChain {
		return nil, fmt.Errorf("%w: a chain of more than %d files; use qemu-img rebase or commit", ErrUnsupported, maxQcowChain)
	}
	shared.chain = append(shared.chain, info)
	below, err := o.also(path)
	if err != nil {
		return nil, fmt.Errorf("open backing file of %s: %w", o.path, err)
	}
	d, err := openQcowBelow(&opening{Disk: below, Options: Options{FollowBacking: true}, path: path, also: o.also, note: o.note, detect: o.detect},
		h.backingFormat, shared)
	if err != nil {
		return nil, fmt.Errorf("open backing file %s of %s: %w", path, o.path, err)
	}
	return d, nil
}

// openQcowBelow opens a backing file in the format that the overlay names. If it names none, the format is detected.
// But then the file may be raw, and its first bytes a guest's: so no backing file of it is opened.
func openQcowBelow(o *opening, format string, shared *qcowShared) (image.Disk, error) {
	switch format {
	case Raw:
		return o.Disk, nil
	case qcow2Name:
		return openQcowLayer(o, shared)
	case "":
	default:
		return nil, fmt.Errorf("%w: a backing file in the format %q, want raw or qcow2; use qemu-img convert", ErrUnsupported, format)
	}
	found, err := o.detect(o.Disk)
	if err != nil {
		return nil, err
	}
	leaf := found == Raw
	if found == qcow2Name {
		h, err := readQcowHeader(o)
		leaf = err == nil && h.backing == ""
	}
	if !leaf {
		return nil, fmt.Errorf("%w: its overlay does not name its format, and it looks like %s, which a guest can write "+
			"into a raw disk; say it with: qemu-img rebase -u -b BACKING -F FORMAT FILE", ErrUnsupported, found)
	}
	o.note(fmt.Sprintf("%s is read as %s: its overlay does not name its format; set it with: qemu-img rebase -u -b BACKING -F %s FILE",
		o.path, found, found))
	if found == Raw {
		return o.Disk, nil
	}
	return openQcowLayer(o, shared)
}

// qcowBackingPath returns the path of a backing file, relative to the file that names it unless it is absolute.
func qcowBackingPath(from, name string) (string, error) {
	if strings.ContainsFunc(name, unicode.IsControl) {
		return "", fmt.Errorf("%w: the name of its backing file is %q", ErrDamaged, name)
	}
	if colon, slash := strings.Index(name, ":"), strings.Index(name, "/"); filepath.VolumeName(name) == "" && colon >= 0 && (slash < 0 || colon < slash) {
		return "", fmt.Errorf("%w: its backing file is not a path: %q; convert it with: qemu-img convert -O qcow2 %s NEW", ErrUnsupported, name, from)
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(from), name)
	}
	return name, nil
}
