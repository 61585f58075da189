package image

// As returns the outermost disk in a chain of decorators that is a T: a capability (ChangeDetector, Sequential, Cached, …) or
// one kind of disk. It starts with d and goes on with what Unwrap returns. Assert a type of a Disk by As only: a plain type
// assertion misses what a decorator wraps.
//
// A decorator has Unwrap only if its bytes are those of the disk behind it, at the same offsets. One that must not be
// bypassed has the capability's methods itself, as Retrying has those of Sectored.
func As[T any](d Disk) (found T, ok bool) {
	for d != nil {
		if found, ok = d.(T); ok {
			return found, true
		}
		decorator, wraps := d.(interface{ Unwrap() Disk })
		if !wraps {
			break
		}
		d = decorator.Unwrap()
	}
	return found, false
}
