package snapshot

import "platter/snapshot/image"

// KeepsRaw reports whether a source must still be stored as a raw disk, although its content now looks like an image.
// kind is the source's kind by its content, and file the kind by its file or device alone.
//
// A guest can write any bytes to the start of its own raw disk. If platter read them as an image header, the guest
// could hide the rest of its disk from backups. It could also include other files as backing files. So only the user
// may change a raw disk into an image.
func KeepsRaw(parent *Snapshot, kind, file string) bool {
	return parent != nil && parent.Source.Kind == image.KindRaw && kind != file
}
