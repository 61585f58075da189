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

// A Dated value is the content of a file, and the time when the file was written or last touched, by the store's clock.
type Dated[T any] struct {
	Value T
	Time  time.Time
}

// A State is what the work directory holds at one moment, by file ID. Leases and markers share a directory on purpose.
// When a network file system puts a file into a directory, it drops its cached listing and so shows what other machines
// put there.
type State struct {
	Leases           map[pack.FileID]Dated[Lease]
	Acknowledgements map[pack.FileID]Lease // their Of names the lease
	Markers          map[pack.FileID]Dated[Marker]
	Unreadable       map[pack.FileID]Dated[error] // damaged files or files of a newer format; errors name them
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

// Read returns the state of the work directory. A file that disappears before it is read has served its purpose.
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
	body, err := pack.ParseHeader(file, pack.MarkerFile)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	m, err := open[Marker](h.o.Box(crypt.Markers), body)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.Markers[f.ID] = Dated[Marker]{m, f.Time}
	return nil
}

// open decrypts and decodes a lease or a marker.
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

// put stores a lease or a marker under its file ID.
func (h *Holder) put(ctx context.Context, kind pack.FileKind, p crypt.Purpose, says any) (pack.FileID, error) {
	plain, err := json.Marshal(says)
	if err != nil {
		return pack.FileID{}, fmt.Errorf("encode %T: %w", says, err)
	}
	id, _, err := layout.PutNamed(ctx, h.o.Store(), layout.Work, kind, h.o.Box(p).Seal(layout.Pad(plain)))
	return id, err
}

// Put stores a lease or an acknowledgement unchanged. Hold and Reading make their own.
func (h *Holder) Put(ctx context.Context, l Lease) (pack.FileID, error) {
	return h.put(ctx, pack.LeaseFile, crypt.Leases, l)
}

// PutMarker stores a marker unchanged. Mark makes as many markers as a list of packs needs.
func (h *Holder) PutMarker(ctx context.Context, m Marker) (pack.FileID, error) {
	return h.put(ctx, pack.MarkerFile, crypt.Markers, m)
}

// Mark puts the markers that condemn packs, or damage markers if damaged is set.
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

// Unmark deletes a marker. A missing marker is no error.
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

// Condemned returns the packs that are about to be deleted. It is empty for a nil State.
func (s *State) Condemned() map[pack.FileID]bool { return s.named(false) }

// Damaged returns the packs that damage markers name. It is empty for a nil State.
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

// Misses reports whether a lease is missing. An unreadable file may be any lease, so the lease with that ID does not
// count as missing.
func (s *State) Misses(lease pack.FileID) bool {
	_, there := s.Leases[lease]
	_, unreadable := s.Unreadable[lease]
	return !there && !unreadable
}

// Readers returns the snapshots that processes read, each with one lease that reads it. Only leases for which counts is
// true count.
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

// fault returns an error that names the unreadable files, or nil if there are none. Any of them may be a marker that
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
	return fmt.Errorf("%w; it may name packs that are about to be deleted: 'platter prune' removes it", errors.Join(errs...))
}
