package snapshot

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
	"platter/snapshot/image/nbd"
)

// A sameness is what one kind of evidence says about two disks.
type sameness int

const (
	unknown sameness = iota
	same
	other
)

// A placement compares the place of a source with that of the previous version.
type placement int

const (
	placeUnknown   placement = iota // one of the two places means nothing: a stream, /dev/sda
	placeSame                       // the same place
	placeRelinked                   // the same path, which now leads elsewhere
	placeMoved                      // another place, and the old one is empty now
	placeElsewhere                  // another place, and the old source is still in its own
)

// A Verdict says whether a source is the disk of a version.
type Verdict int

// Verdicts, from best to worst.
const (
	Same    Verdict = iota
	Changed         // the same disk, but its content has nothing in common with the old one
	Unsure          // nothing contradicts it, but only a name chosen by the user supports it
	Another         // another disk
)

// evidence is everything that decides whether a source is the disk of a version. docs/disks.md has the table.
type evidence struct {
	hardware  sameness // serial number, WWN, model, partition number
	marks     sameness // IDs of the partition table, partitions and file systems
	place     placement
	named     bool // the user chose the name; it was not made of the path
	removable bool // the hardware is a card reader, not the medium
	resized   bool
}

func (e evidence) verdict() Verdict {
	differs := e.marks == other
	switch {
	case e.hardware == other:
		return Another
	case e.hardware == same && !e.removable:
		if differs && e.resized { // cheap adapters share a serial number
			return Another
		}
		return pick(differs, Changed, Same)
	case e.place == placeSame:
		return pick(differs, pick(e.removable, Another, Changed), Same)
	case differs:
		return Another
	case e.place == placeUnknown:
		return Same
	case e.place == placeRelinked, e.named && e.place == placeElsewhere:
		return pick(e.marks == same, Same, Unsure)
	case e.place == placeMoved && (e.named || e.marks == same):
		return Same
	}
	return Another // two files of one name in two folders; clones have the same marks
}

func pick(condition bool, yes, no Verdict) Verdict {
	if condition {
		return yes
	}
	return no
}

// A Claim is a source that is about to be stored as the next version of a disk.
type Claim struct {
	*Snapshot // its name, host and source
	Size      int64
	Named     bool                 // the user chose the name
	Device    image.Identity       // of a device
	Look      func() *anatomy.Disk // reads what the source says about itself
	// Stays reports whether the source of a version is still in its place, and whether it is the claim's own file.
	Stays func(path string) (there, same bool)
}

// Compare says whether a claim is the disk of the version old, and if not, why. was is the known anatomy of old.
func (c *Claim) Compare(old *Snapshot, was *anatomy.Disk) (Verdict, string) {
	e := evidence{named: c.Named, removable: c.Device.Removable, resized: c.Size != old.Size}
	var why string
	if e.hardware, why = compareHardware(old.Source, c.Source, c.Device.HasSerial); e.hardware == other {
		return Another, why
	}
	if e.place = comparePlaces(old.Source, c.Source); e.place == placeElsewhere {
		there, very := c.Stays(old.Source.where())
		switch {
		case very:
			e.place = placeSame
		case !there:
			e.place = placeMoved
		}
	}
	now := c.Look()
	e.marks = compareMarks(marks(was), marks(now))
	return e.verdict(), e.why(old, was, now)
}

// why describes the evidence against a claim, apart from the hardware.
func (e evidence) why(old *Snapshot, was, now *anatomy.Disk) string {
	switch {
	case e.marks == other:
		return fmt.Sprintf("it has %s, that version has %s", describeMarks(now), describeMarks(was))
	case e.place == placeElsewhere:
		return fmt.Sprintf("that version was read from %s, which is still there", old.Source.where())
	}
	return fmt.Sprintf("that version was read from %s", old.Source.where())
}

// describeMarks names the first mark, which is the partition table's if it has one.
func describeMarks(d *anatomy.Disk) string {
	kind, number, _ := strings.Cut(marks(d)[0], " ")
	if kind == d.Table {
		return fmt.Sprintf("the %s partition table %s", strings.ToUpper(kind), number)
	}
	return kind + " " + number
}

// where returns the place that a source was read from, as far as it is known.
func (s Source) where() string {
	if s.Place != "" {
		return s.Place
	}
	return s.Path
}

// String returns the place, and the serial number if there is one.
func (s Source) String() string {
	if s.Serial != "" {
		return fmt.Sprintf("%s, serial number %s", s.where(), s.Serial)
	}
	return s.where()
}

// compareHardware compares what two devices say about themselves, and describes the difference. known reports whether
// the second device has a serial number: programs report different ones for one device.
func compareHardware(a, b Source, known func(serial string) bool) (sameness, string) {
	if a.Kind != image.KindDevice || b.Kind != image.KindDevice {
		return unknown, ""
	}
	if a.Place != "" && b.Place != "" && a.Partition != b.Partition {
		return other, fmt.Sprintf("it is %s, that version is of %s", partitionText(b.Partition), partitionText(a.Partition))
	}
	differ := func(what, a, b string) string { return fmt.Sprintf("its %s is %s, that version's is %s", what, b, a) }
	switch wa, wb := plainWWN(a.WWN), plainWWN(b.WWN); {
	case wa == "" || wb == "":
	case strings.HasPrefix(wa, wb) || strings.HasPrefix(wb, wa):
		return same, ""
	case len(wa) == len(wb): // a WWN of another length is written in another way
		return other, differ("WWN", a.WWN, b.WWN)
	}
	switch {
	case a.Serial != "" && (a.Serial == b.Serial || known != nil && known(a.Serial)):
		return same, ""
	case a.Serial != "" && b.Serial != "":
		return other, differ("serial number", a.Serial, b.Serial)
	case a.Model != "" && b.Model != "" && a.Model != b.Model:
		return other, differ("model", a.Model, b.Model)
	}
	return unknown, ""
}

func partitionText(number int) string {
	if number == 0 {
		return "a whole disk"
	}
	return fmt.Sprintf("partition %d of one", number)
}

// plainWWN returns a WWN without the prefix that says its type: the kernel and udev differ in that.
func plainWWN(s string) string {
	s = strings.ToLower(s)
	for _, prefix := range []string{"naa.", "eui.", "0x"} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}

// comparePlaces never returns placeMoved, because that needs a look at the machine.
func comparePlaces(a, b Source) placement {
	pa, pb := a.place(), b.place()
	switch {
	case pa == "" || pb == "":
		return placeUnknown
	case pa == pb, (a.Place == "" || b.Place == "") && a.Path == b.Path:
		return placeSame
	case a.Path == b.Path && a.Kind != image.KindDevice && b.Kind != image.KindDevice:
		return placeRelinked
	}
	return placeElsewhere
}

// place returns the permanent place of a source; "" if the path says nothing. The kernel numbers devices as it finds
// them. So a disk's name below /dev is not a place, unless it is a link or belongs to device-mapper. A relative path
// means nothing in another working directory.
func (s Source) place() string {
	at := s.where()
	switch {
	case s.Kind == "stream" || !isAbsolute(at):
		return ""
	case s.Kind != image.KindDevice || strings.HasPrefix(at, "/dev/mapper/") || !strings.HasPrefix(at, "/dev/"):
		return at
	case s.Place == "" || s.Path == s.Place: // /dev/sda, or a path whose link was not resolved
		return ""
	}
	return s.Path
}

// isAbsolute reports whether a path is absolute on any system, since the version may come from another one, or a URI.
func isAbsolute(p string) bool {
	return path.IsAbs(p) || nbd.IsURI(p) || strings.HasPrefix(p, `\\`) || len(p) > 2 && p[1] == ':' && (p[2] == '\\' || p[2] == '/')
}

// Known returns the newest version of the claim's disk under another name or host, judged by its hardware or place; nil
// if there is none.
func (c *Claim) Known(all []*Snapshot) *Snapshot {
	for _, s := range slices.Backward(all) {
		if s.Name == c.Name && s.Host == c.Host {
			continue
		}
		hardware, _ := compareHardware(s.Source, c.Source, c.Device.HasSerial)
		if hardware == same && !c.Device.Removable || hardware == unknown && comparePlaces(s.Source, c.Source) == placeSame {
			return s
		}
	}
	return nil
}
