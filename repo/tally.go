package repo

import "platter/chunk"

// A Tally counts the bytes to read from the store for wanted chunks, each frame once. It is not safe for concurrent
// use.
type Tally struct {
	Bytes int64 // of frames, as stored

	repo   *Repo
	frames map[frameKey]struct{}
}

// NewTally returns an empty tally.
func (r *Repo) NewTally() *Tally { return &Tally{repo: r, frames: map[frameKey]struct{}{}} }

// Add adds data chunks to the tally. For chunks in no index, it returns the errors of Repo.Load.
func (t *Tally) Add(wants []Want) error {
	found, err := t.repo.view().locate(chunk.Data, len(wants), func(i int) chunk.ID { return wants[i].ID })
	if err != nil {
		return err
	}
	for i := range found {
		w := &found[i]
		if _, counted := t.frames[w.key()]; !counted {
			t.frames[w.key()] = struct{}{}
			t.Bytes += int64(w.Frame.Sealed)
		}
	}
	return nil
}
