package repo

import "platter/chunk"

// A Tally counts what has to be read from the store for chunks that are wanted: every frame once. It is not safe for concurrent use.
type Tally struct {
	Bytes int64 // of frames, as they are stored

	repo   *Repo
	frames map[frameKey]struct{}
}

// NewTally returns a tally of nothing.
func (r *Repo) NewTally() *Tally { return &Tally{repo: r, frames: map[frameKey]struct{}{}} }

// Add counts chunks of data in. Errors are as of Repo.Load, of chunks that are in no index.
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
