package lease

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
)

// A Dated value is what a file says, and when the file was written or touched, by the store's clock.
type Dated[T any] struct {
	Value T
	Time  time.Time
}

// A State is what the work directory held at one moment, by file ID. Leases and markers share a directory on purpose: a
// network file system that puts a file into it forgets what it remembers of it, and so shows what others put there.
type State struct {
	Leases           map[pack.FileID]Dated[Lease]
	Acknowledgements map[pack.FileID]Lease // Of names their lease
	Markers          map[pack.FileID]Dated[Marker]
	Unreadable       map[pack.FileID]Dated[error] // damaged files and such of a newer format; each error names its file
}

func newState() *State {
	return &State{map[pack.FileID]Dated[Lease]{}, map[pack.FileID]Lease{}, map[pack.FileID]Dated[Marker]{}, map[pack.FileID]Dated[error]{}}
}

// ReadNow is Read for a process that deletes, or builds on, what the state does not show.
func (h *Holder) ReadNow(ctx context.Context) (*State, error) {
	if err := store.Refresh(ctx, h.o.Store(), layout.Work); err != nil {
		return nil, err
	}
	return h.Read(ctx)
}

// Read returns the state of the work directory. A file that is missing when it is read has served its purpose.
func (h *Holder) Read(ctx context.Context) (*State, error) {
	files, err := layout.List(ctx, h.o.Store(), layout.Work)
	if err != nil {
		return nil, err
	}
	s := newState()
	for _, f := range files {
		err := h.readFile(ctx, s, f)
		if err == nil || layout.IsMissing(err) {
			continue
		}
		if !layout.IsPermanent(err) {
			return nil, err
		}
		s.Unreadable[f.ID] = Dated[error]{err, f.Time}
	}
	return s, nil
}

func (h *Holder) readFile(ctx context.Context, s *State, f layout.File) error {
	name := layout.Name(layout.Work, f.ID)
	file, err := layout.Read(ctx, h.o.Store(), name, layout.MaxMarker)
	if err != nil {
		return err
	}
	if pack.Sum(file) != f.ID {
		return fmt.Errorf("%s: %w: its bytes do not match its name", name, pack.ErrDamaged)
	}
	if body, err := pack.ParseHeader(file, pack.LeaseFile); err == nil {
		l, err := open[Lease](h.o.Box(crypt.Leases), body)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if l.Of != nil {
			s.Acknowledgements[f.ID] = l
		} else {
			s.Leases[f.ID] = Dated[Lease]{l, f.Time}
		}
		return nil
	}
	body, err := pack.ParseHeader(file, pack.PlanFile)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	m, err := open[Marker](h.o.Box(crypt.Plans), body)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.Markers[f.ID] = Dated[Marker]{m, f.Time}
	return nil
}

// open reads what a lease or a marker says.
func open[T any](box *crypt.Box, sealed []byte) (says T, err error) {
	plain, err := box.Open(sealed)
	if err == nil {
		err = json.Unmarshal(plain, &says)
	}
	if err != nil {
		return says, fmt.Errorf("%w: %w", pack.ErrDamaged, err)
	}
	return says, nil
}

// put stores a lease or a marker under the name that follows from its bytes.
func (h *Holder) put(ctx context.Context, kind pack.FileKind, p crypt.Purpose, says any) (pack.FileID, error) {
	plain, err := json.Marshal(says)
	if err != nil {
		return pack.FileID{}, fmt.Errorf("encode %T: %w", says, err)
	}
	id, _, err := layout.PutNamed(ctx, h.o.Store(), layout.Work, kind, h.o.Box(p).Seal(layout.Pad(plain)))
	return id, err
}

// Put stores a lease, or an acknowledgement, as it is. Hold and Reading make their own.
func (h *Holder) Put(ctx context.Context, l Lease) (pack.FileID, error) {
	return h.put(ctx, pack.LeaseFile, crypt.Leases, l)
}

// PutMarker stores a marker as it is. Mark makes as many as a list of packs needs.
func (h *Holder) PutMarker(ctx context.Context, m Marker) (pack.FileID, error) {
	return h.put(ctx, pack.PlanFile, crypt.Plans, m)
}

// Mark puts the markers that condemn packs, or those that call them damaged.
func (h *Holder) Mark(ctx context.Context, packs []pack.FileID, damaged bool) error {
	packs = slices.Compact(slices.SortedFunc(slices.Values(packs), compareIDs))
	m := Marker{Damaged: damaged, Host: hostname(), Time: h.o.Now().UTC().Truncate(time.Second)}
	for m.Packs = range slices.Chunk(packs, packsPerMarker) {
		if _, err := h.PutMarker(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// Unmark deletes a marker. That it is missing is no error.
func (h *Holder) Unmark(ctx context.Context, marker pack.FileID) error {
	if err := h.o.Store().Delete(ctx, layout.Name(layout.Work, marker)); err != nil && !layout.IsMissing(err) {
		return err
	}
	return nil
}

// Acknowledges reports whether the holder of a lease knows of a marker.
func (s *State) Acknowledges(lease, marker pack.FileID) bool {
	for _, a := range s.Acknowledgements {
		if *a.Of == lease && slices.Contains(a.Acknowledged, marker) {
			return true
		}
	}
	return false
}

// Condemned returns the packs that are about to be deleted. A nil State has none.
func (s *State) Condemned() map[pack.FileID]bool { return s.named(false) }

// Damaged returns the packs that damage markers name. A nil State has none.
func (s *State) Damaged() map[pack.FileID]bool { return s.named(true) }

func (s *State) named(damaged bool) map[pack.FileID]bool {
	packs := map[pack.FileID]bool{}
	if s == nil {
		return packs
	}
	for _, m := range s.Markers {
		for _, id := range m.Value.Packs {
			if m.Value.Damaged == damaged {
				packs[id] = true
			}
		}
	}
	return packs
}

// MarkerIDs returns the file IDs of all markers, sorted.
func (s *State) MarkerIDs() []pack.FileID { return slices.SortedFunc(maps.Keys(s.Markers), compareIDs) }

func compareIDs(a, b pack.FileID) int { return bytes.Compare(a[:], b[:]) }

// Misses reports whether a lease is missing. A file that cannot be read may be any lease.
func (s *State) Misses(lease pack.FileID) bool {
	_, there := s.Leases[lease]
	_, unreadable := s.Unreadable[lease]
	return !there && !unreadable
}

// Readers returns the snapshots that processes read, each with the lease of one of them.
func (s *State) Readers(counts func(pack.FileID, Dated[Lease]) bool) map[pack.FileID]Lease {
	read := map[pack.FileID]Lease{}
	for id, l := range s.Leases {
		if counts(id, l) {
			for _, snapshot := range l.Value.Reads {
				read[snapshot] = l.Value
			}
		}
	}
	return read
}

// fault returns an error that names the files that cannot be read, nil where there are none. Each may be a marker that
// condemns any pack, so nothing can be built on stored data.
func (s *State) fault() error {
	if len(s.Unreadable) == 0 {
		return nil
	}
	var errs []error
	for _, d := range s.Unreadable {
		errs = append(errs, d.Value)
	}
	slices.SortFunc(errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return fmt.Errorf("%w; it may say what is to be deleted: 'platter prune' clears it away", errors.Join(errs...))
}
