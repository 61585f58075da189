package snapshot

import "platter/snapshot/image"

// KeepsRaw reports whether a source must be stored as the raw disk that it was before, although its content now looks like an image.
// kind is the kind of the source by its content, and file the kind of its file or device alone.
//
// A guest can write any bytes to the beginning of its own raw disk. If they were read as the header of an image, the guest could hide
// the rest of its disk from backups, or include other files as backing files. So only the user may change a raw disk into an image.
func KeepsRaw(parent *Snapshot, kind, file string) bool {
	return parent != nil && parent.Source.Kind == image.KindRaw && kind != file
}
