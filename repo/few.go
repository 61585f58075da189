package repo

import (
	"fmt"
	"slices"
)

// A few are some of the names of files that the owner of a store can put there by the million. The first by their names are
// told, and the others counted.
type few struct {
	names []string // sorted
	count int
}

const fewNames = 20

func (f *few) add(name string) {
	f.count++
	if at, _ := slices.BinarySearch(f.names, name); at < fewNames {
		f.names = slices.Insert(f.names, at, name)
		f.names = f.names[:min(len(f.names), fewNames)]
	}
}

// notes are a sentence about each name that is told, in which a verb stands for it, and one about how many others there are.
func (f *few) notes(each string) (notes []string) {
	for _, name := range f.names {
		notes = append(notes, fmt.Sprintf(each, name))
	}
	if more := f.count - len(f.names); more > 0 {
		notes = append(notes, fmt.Sprintf("%d more are like %q", more, f.names[len(f.names)-1]))
	}
	return notes
}
