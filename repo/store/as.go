package store

// A Decorator is a Store in front of another one. Optional capabilities are found through it: see As.
//
// A decorator that must not pass a capability on implements it itself. DryRun, for one, must not refresh a listing by
// writing a file, and Cached must answer a GetInto from its copies, as it answers a Get.
type Decorator interface {
	Store
	// Unwrap returns the store behind this one.
	Unwrap() Store
}

var _, _ Decorator = (*Cached)(nil), DryRun{}

// As returns the outermost store, from s inward through all Decorators, that is a T: a capability such as Filler, or a
// type such as *Cached. It returns false when there is none.
func As[T any](s Store) (T, bool) {
	for s != nil {
		if t, ok := s.(T); ok {
			return t, true
		}
		d, ok := s.(Decorator)
		if !ok {
			break
		}
		s = d.Unwrap()
	}
	var none T
	return none, false
}
