package virtual

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/text/encoding/charmap"
)

const (
	vmdkNoParent      = 0xffffffff
	vmdkDescriptorMax = 1 << 20 // bytes; a disk of 8 TiB in parts of 2 GiB takes a quarter of that
)

// A vmdkDescriptor lists the parts of a disk. It is text:
//
//	# Disk DescriptorFile
//	version=1
//	CID=fffffffe
//	parentCID=ffffffff
//	createType="twoGbMaxExtentSparse"
//
//	RW 4192256 SPARSE "disk-s001.vmdk"
//	RW 2048 FLAT "disk-f002.vmdk" 0
//	RW 63 ZERO
type vmdkDescriptor struct {
	cid, parentCID uint32
	parentHint     string
	extents        []vmdkExtent // at least one
	encoding       string       // of names
}

// A vmdkExtent is one part of a disk.
type vmdkExtent struct {
	sectors int64
	kind    string // FLAT, SPARSE or ZERO
	name    string
	start   int64 // sector in the file, for FLAT
}

// looksLikeDescriptor reports whether a file begins like a descriptor: with comments that include the marker, or with
// the version as the first line that is not a comment.
func looksLikeDescriptor(head []byte) bool {
	if !isText(head) {
		return false
	}
	for line := range bytes.Lines(head) {
		line := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(string(line)), " ", ""))
		switch {
		case line == "#diskdescriptorfile":
			return true
		case line != "" && line[0] != '#':
			return strings.HasPrefix(line, "version=")
		}
	}
	return false
}

// vmdkLeftMax is the maximum number of bytes of an older descriptor after a shorter one. qemu rewrites the content ID
// in place, without leading zeros, and leaves the surplus bytes behind the terminating zero.
const vmdkLeftMax = 8

// isText reports whether bytes are text, perhaps padded with zeros to a whole sector.
func isText(p []byte) bool {
	text, left, _ := bytes.Cut(bytes.TrimRight(p, "\x00"), []byte{0})
	left = bytes.TrimLeft(left, "\x00")
	control := func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f }
	return !bytes.ContainsFunc(text, control) && !bytes.ContainsFunc(left, control) && len(left) <= vmdkLeftMax
}

// vmdkDescriptorFile reads a descriptor that is a file of its own. A raw disk is longer than any descriptor. So a
// guest that writes a descriptor to its disk's start cannot make platter read other machines' files.
func vmdkDescriptorFile(f *tableFile) ([]byte, error) {
	if f.Size() > vmdkDescriptorMax {
		return nil, fmt.Errorf("%w: it begins with a descriptor and is too long for one, %d bytes; if it is a raw disk, give "+
			"--format raw", ErrUnsupported, f.Size())
	}
	text, err := f.bytes(0, f.Size())
	if err != nil {
		return nil, err
	}
	if !isText(text) {
		return nil, fmt.Errorf("%w: it begins with a descriptor and is not all text; if it is a raw disk, give --format raw", ErrDamaged)
	}
	return text, nil
}

// parseVMDKDescriptor parses a descriptor. A line that it does not understand is an error: without one part, all
// later ones would be in the wrong place.
func parseVMDKDescriptor(text []byte) (*vmdkDescriptor, error) {
	text, _, _ = bytes.Cut(text, []byte{0})
	d := &vmdkDescriptor{parentCID: vmdkNoParent}
	seen, sectors := map[string]bool{}, int64(0)
	for line := range bytes.Lines(text) {
		line := strings.TrimSpace(string(line))
		if line == "" || line[0] == '#' {
			continue
		}
		var err error
		if access, rest, ok := cutAccess(line); ok {
			var e vmdkExtent
			if e, err = parseVMDKExtent(access, rest); err == nil {
				d.extents = append(d.extents, e)
				sectors += e.sectors
			}
			if sectors > vmdkMax/vmdkSector || len(d.extents) > maxFiles {
				return nil, fmt.Errorf("%w: a disk of more than %d TiB, or of more than %d parts", ErrUnsupported, vmdkMax>>40, maxFiles)
			}
		} else {
			err = d.set(line, seen)
		}
		if err != nil {
			return nil, fmt.Errorf("descriptor line %.100q: %w", line, err)
		}
	}
	if len(d.extents) == 0 {
		return nil, fmt.Errorf("%w: its descriptor names no data", ErrDamaged)
	}
	return d, d.decodeNames()
}

// set handles a line with a key and its value.
func (d *vmdkDescriptor) set(line string, seen map[string]bool) (err error) {
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return fmt.Errorf("%w: neither a key nor a part of the disk", ErrDamaged)
	}
	key = strings.ToLower(strings.TrimSpace(key))
	value = strings.Trim(strings.TrimSpace(value), `"`)
	number := func(text string, base int) uint32 {
		var n uint64
		if n, err = strconv.ParseUint(text, base, 32); err != nil {
			err = fmt.Errorf("%w: not a 32-bit number", ErrDamaged)
		}
		return uint32(n)
	}
	switch key {
	case "version":
		if v := number(value, 10); err == nil && (v < 1 || v > 3) {
			err = fmt.Errorf("%w: version %d of the descriptor", ErrUnsupported, v)
		}
	case "cid":
		d.cid = number(value, 16)
	case "parentcid":
		d.parentCID = number(value, 16)
	case "parentfilenamehint":
		d.parentHint = value
	case "encoding":
		d.encoding = value
	default:
		if strings.HasPrefix(key, "encryption.") {
			err = fmt.Errorf("%w: the disk is encrypted; remove the encryption in VMware first", ErrUnsupported)
		}
		return err // the rest describes the virtual hardware, not the content
	}
	if seen[key] {
		return fmt.Errorf("%w: it appears twice", ErrDamaged)
	}
	seen[key] = true
	return err
}

// cutAccess splits the access mode off a line that names a part.
func cutAccess(line string) (access, rest string, ok bool) {
	for _, access := range []string{"RW", "RDONLY", "NOACCESS"} {
		rest, ok := strings.CutPrefix(line, access)
		if ok && strings.TrimLeft(rest, " \t") != rest {
			return access, strings.TrimSpace(rest), true
		}
	}
	return "", "", false
}

// parseVMDKExtent parses a line that names a part, from its length on.
func parseVMDKExtent(access, line string) (e vmdkExtent, err error) {
	line, rest, named := strings.Cut(line, `"`)
	fields := strings.Fields(line)
	if len(fields) != 2 {
		return e, fmt.Errorf("%w: want ACCESS SECTORS KIND \"NAME\" OFFSET", ErrDamaged)
	}
	e.kind = strings.ToUpper(fields[1])
	e.sectors, err = strconv.ParseInt(fields[0], 10, 64)
	if err != nil || e.sectors <= 0 || e.sectors > vmdkMax/vmdkSector {
		return e, fmt.Errorf("%w: %q sectors", ErrDamaged, fields[0])
	}
	if access == "NOACCESS" {
		return e, fmt.Errorf("%w: a part without read access", ErrUnsupported)
	}
	switch e.kind {
	case "ZERO":
		return e, nil
	case "FLAT", "SPARSE":
	case "VMFS":
		e.kind = "FLAT"
	case "VMFSSPARSE", "SESPARSE":
		return e, fmt.Errorf("%w: a sparse part of ESX; convert the disk first: vmkfstools -i, or qemu-img convert", ErrUnsupported)
	default:
		return e, fmt.Errorf("%w: a part of kind %s; name the device behind it instead", ErrUnsupported, e.kind)
	}
	e.name, rest, named = cutName(rest, named)
	if !named {
		return e, fmt.Errorf("%w: no name in quotes", ErrDamaged)
	}
	if fields := strings.Fields(rest); len(fields) > 0 {
		e.start, err = strconv.ParseInt(fields[0], 10, 64)
		if err != nil || e.start < 0 || e.start > vmdkMax/vmdkSector || len(fields) > 1 || e.kind != "FLAT" && e.start != 0 {
			return e, fmt.Errorf("%w: %q after the name", ErrDamaged, rest)
		}
	}
	return e, nil
}

func cutName(rest string, opened bool) (name, after string, ok bool) {
	name, after, closed := strings.Cut(rest, `"`)
	return name, after, opened && closed && name != ""
}

// decodeNames decodes the names. VMware on Windows writes them in that machine's code page.
func (d *vmdkDescriptor) decodeNames() error {
	if !strings.EqualFold(d.encoding, "windows-1252") {
		return nil // it is UTF-8, or no such file will be found
	}
	decode := charmap.Windows1252.NewDecoder()
	var all error
	name := func(s string) string {
		s, err := decode.String(s)
		all = errors.Join(all, err)
		return s
	}
	d.parentHint = name(d.parentHint)
	for i := range d.extents {
		d.extents[i].name = name(d.extents[i].name)
	}
	return all
}
