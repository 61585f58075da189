package snapshot

// A Part is a run of a disk, and what it is called: p3 for the third partition. The whole disk has no name.
type Part struct {
	Off, Len int64 // bytes
	Name     string
}

// Whole returns the part that is all of the snapshot's disk.
func (s *Snapshot) Whole() Part { return Part{Len: s.Size} }
