package snapshot

// A Part is a run of a snapshot's disk that is taken by itself: a partition, or all of the disk.
type Part struct {
	Off, Len int64  // bytes
	Name     string // such as p3; "" for all of the disk
}
