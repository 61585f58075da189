package image

// As returns the outermost disk in a chain of decorators that is a T: a capability (ChangeDetector, Sequential, Cached,
// …) or one kind of disk. It starts with d and continues with what Unwrap returns. Always use As to assert the type of
// a Disk: a plain type assertion misses a disk that a decorator wraps.
//
// A decorator has Unwrap only if its bytes are those of the wrapped disk, at the same offsets. A decorator that must
// not be bypassed implements the capability itself, as Retrying implements Sectored.
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
