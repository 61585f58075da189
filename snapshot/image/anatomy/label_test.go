package anatomy

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"platter/snapshot/image/oracle"
)

// A volume is a FAT file system in a file. Tests change its root folder as other systems do.
type volume struct {
	t      *testing.T
	path   string
	layout fatLayout
	root   int64 // offset of the root folder
}

// newVolume makes a volume with the label OLDNAME.
func newVolume(t *testing.T, bits string, size int64) *volume {
	t.Helper()
	v := &volume{t: t, path: oracle.Blank(t, size)}
	oracle.Run(t, "mkfs.vfat", "-F", bits, "-s", "1", "-n", "OLDNAME", v.path)
	boot, err := os.ReadFile(v.path)
	if err != nil {
		t.Fatal(err)
	}
	l, ok := parseFAT(boot[:512])
	if !ok {
		t.Fatal("the volume is no FAT")
	}
	if v.layout, v.root = l, l.root; l.is32 {
		v.root = l.data + int64(le.Uint32(boot[44:])-2)*l.cluster
	}
	return v
}

func (v *volume) write(p []byte, off int64) {
	v.t.Helper()
	f, err := os.OpenFile(v.path, os.O_RDWR, 0)
	if err != nil {
		v.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(p, off); err != nil {
		v.t.Fatal(err)
	}
}

// dir makes a directory entry.
func dir(name string, attributes byte, cluster uint16) []byte {
	e := make([]byte, dirEntry)
	copy(e, name)
	e[11] = attributes
	le.PutUint16(e[26:], cluster)
	return e
}

// TestFATLabels compares labels with blkid's, after changes and deletions in all the ways of other systems.
func TestFATLabels(t *testing.T) {
	files := bytes.Repeat(dir("FILE    TXT", 0x20, 9), 16) // fill a cluster
	for name, change := range map[string]func(v *volume){
		"as it was made":     func(*volume) {},
		"deleted":            func(v *volume) { v.write([]byte{0xe5}, v.root) },
		"no entries":         func(v *volume) { v.write([]byte{0}, v.root) },
		"changed":            func(v *volume) { v.write(dir("NEWNAME    ", 8, 0), v.root) },
		"lower case":         func(v *volume) { v.write(dir("New name   ", 8, 0), v.root) },
		"NO NAME":            func(v *volume) { v.write(dir("NO NAME    ", 8, 0), v.root) },
		"spaces":             func(v *volume) { v.write(dir("           ", 8, 0), v.root) },
		"begins with E5":     func(v *volume) { v.write(dir("\x05ABC       ", 8, 0), v.root) },
		"archived":           func(v *volume) { v.write(dir("ARCHIVED   ", 0x28, 0), v.root) },
		"a folder":           func(v *volume) { v.write(dir("FOLDER     ", 0x18, 0), v.root) },
		"with a cluster":     func(v *volume) { v.write(dir("CLUSTER    ", 8, 5), v.root) },
		"part of a long one": func(v *volume) { v.write(append(dir("Along name", 0x0f, 0), dir("SECOND     ", 8, 0)...), v.root) },
		"behind files":       func(v *volume) { v.write(append(files[:5*dirEntry:5*dirEntry], dir("BEHIND     ", 8, 0)...), v.root) },
		"after the end":      func(v *volume) { v.write(append(make([]byte, dirEntry), dir("BEHIND     ", 8, 0)...), v.root) },
		"fatlabel":           func(v *volume) { oracle.Run(v.t, "fatlabel", v.path, "BY_TOOL") },
		"fatlabel, reset":    func(v *volume) { oracle.Run(v.t, "fatlabel", "-r", v.path) },
		"in the boot sector": func(v *volume) { v.write([]byte("BOOTSECTOR "), map[bool]int64{true: 71, false: 43}[v.layout.is32]) },
		"in the second cluster": func(v *volume) {
			if v.write(files, v.root); v.layout.is32 {
				v.write([]byte{20, 0, 0, 0, 0xff, 0xff, 0xff, 0x0f}, v.layout.table+4*2)
				v.write(dir("SECOND     ", 8, 0), v.layout.data+18*v.layout.cluster)
			} else {
				v.write(dir("SECOND     ", 8, 0), v.root+int64(len(files)))
			}
		},
		"in the fortieth cluster": func(v *volume) {
			for i := range int64(39) {
				v.write(files, v.root+i*512)
				if v.layout.is32 {
					v.write([]byte{byte(3 + i), 0, 0, 0}, v.layout.table+4*(2+i))
				}
			}
			v.write(dir("FORTIETH   ", 8, 0), v.root+39*512)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for bits, size := range map[string]int64{"12": 2 << 20, "16": 16 << 20, "32": 64 << 20} {
				if bits != "32" && name == "in the fortieth cluster" {
					continue // the root folder is too short
				}
				v := newVolume(t, bits, size)
				change(v)
				got, want := readFile(t, v.path).Content, blkid(t, v.path)
				if got == nil || got.Label != strings.ToValidUTF8(want["LABEL_ENC"], "\ufffd") || got.UUID != want["UUID_ENC"] {
					t.Errorf("FAT%s: found %+v, blkid says %q", bits, got, want)
				}
			}
		})
	}
}

// TestDeletedLabels does the same with the tools of other file systems.
func TestDeletedLabels(t *testing.T) {
	for name, tools := range map[string][2]string{
		"exfat": {"mkfs.exfat -L OLDNAME %s", "exfatlabel %s"},
		"ntfs":  {"mkfs.ntfs -q -F -f -L OLDNAME %s", "ntfslabel -f %s"},
		"ext4":  {"mkfs.ext4 -q -F -L OLDNAME %s", "e2label %s"},
	} {
		for _, label := range []string{"OLDNAME", "Neü", ""} {
			path := oracle.Blank(t, 32<<20)
			args := strings.Fields(strings.ReplaceAll(tools[0], "%s", path))
			oracle.Run(t, args[0], args[1:]...)
			if label != "OLDNAME" {
				args = strings.Fields(strings.ReplaceAll(tools[1], "%s", path))
				oracle.Run(t, args[0], append(args[1:], label)...)
			}
			d := readFile(t, path)
			sameAsBlkid(t, path, d.Content)
			if d.Content.Label != label {
				t.Errorf("%s: the label is %q, want %q", name, d.Content.Label, label)
			}
		}
	}
}
