package repo

import (
	"fmt"
	"slices"
)

// cappedNames is a capped list of file names, because the owner of a store can put millions of files there. It keeps
// the first by name and counts the rest.
type cappedNames struct {
	names []string // sorted
	count int
}

const maxNames = 20

func (f *cappedNames) add(name string) {
	f.count++
	if at, _ := slices.BinarySearch(f.names, name); at < maxNames {
		f.names = slices.Insert(f.names, at, name)
		f.names = f.names[:min(len(f.names), maxNames)]
	}
}

// notes returns one sentence for each name, and one that counts the rest. each is a format with one verb, for the name.
func (f *cappedNames) notes(each string) (notes []string) {
	for _, name := range f.names {
		notes = append(notes, fmt.Sprintf(each, name))
	}
	if more := f.count - len(f.names); more > 0 {
		notes = append(notes, fmt.Sprintf("%d more are like %q", more, f.names[len(f.names)-1]))
	}
	return notes
}
