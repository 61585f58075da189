package store

// As returns the outermost store in a chain of decorators that is a T: a capability (Filler, DirSyncer, Lagging, …) or
// one kind of store. It starts with s and continues with what Unwrap returns. Always use As to assert the type of a
// Store: a plain type assertion misses a store that a decorator wraps.
//
// So a decorator offers the capabilities of the wrapped store without naming them. A decorator that must not be
// bypassed implements the capability itself: DryRun syncs nothing, and Cached reads from its own copies.
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
