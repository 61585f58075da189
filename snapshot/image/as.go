package image

// A Decorator is a Disk in front of another one of the same bytes at the same offsets. Optional capabilities are found
// through it: see As. A disk that shows other bytes or offsets, such as a virtual disk in its file, must not be one.
type Decorator interface {
	Disk
	// Unwrap returns the disk behind this one.
	Unwrap() Disk
}

var _ Decorator = (*Retrying)(nil)

// As returns the outermost disk, from d inward through all Decorators, that is a T: a capability such as Sequential, or a
// type such as *Retrying. It returns false when there is none.
func As[T any](d Disk) (T, bool) {
	for d != nil {
		if t, ok := d.(T); ok {
			return t, true
		}
		w, ok := d.(Decorator)
		if !ok {
			break
		}
		d = w.Unwrap()
	}
	var none T
	return none, false
}
