package store

// As returns the outermost store in a chain of decorators that is a T: a capability (Filler, DirSyncer, Lagging, …) or one
// kind of store. It starts with s and goes on with what Unwrap returns. Assert a type of a Store by As only: a plain type
// assertion misses what a decorator wraps.
//
// A decorator therefore offers the capabilities of the store behind it without naming them. One that must not be bypassed
// has the capability's methods itself: DryRun syncs nothing, and Cached fills memory from the copies that it keeps.
func As[T any](s Store) (found T, ok bool) {
	for s != nil {
		if found, ok = s.(T); ok {
			return found, true
		}
		decorator, wraps := s.(interface{ Unwrap() Store })
		if !wraps {
			break
		}
		s = decorator.Unwrap()
	}
	return found, false
}
