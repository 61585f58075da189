package lease

import (
	"context"
	"fmt"
	"time"

	"platter/pack"
	"platter/repo/layout"
)

// Now touches the held lease and returns the state and the time by the store's clock. It returns ErrLost if the lease
// is missing.
func (h *Holder) Now(ctx context.Context) (*State, time.Time, error) {
	id, _, _ := h.Held()
	if err := h.touch(ctx, id); layout.IsMissing(err) {
		return nil, time.Time{}, ErrLost
	} else if err != nil {
		return nil, time.Time{}, err
	}
	s, err := h.ReadNow(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	own, ok := s.Leases[id]
	if !ok {
		return nil, time.Time{}, ErrLost
	}
	return s, own.Time, nil
}

// EndExpired returns the leases of other processes that may be alive, and ends the expired ones. It deletes the lease
// first, then the file that the holder may be about to commit; see Commit. pending must have been listed before s was
// read. ended has one sentence for each lease it ended.
func (h *Holder) EndExpired(ctx context.Context, s *State, pending []layout.File, now time.Time) (live map[pack.FileID]Lease, ended []string, err error) {
	own, _, _ := h.Held()
	live = map[pack.FileID]Lease{}
	for id, l := range s.Leases {
		if id == own {
			continue
		}
		if !h.Expired(l, now) {
			live[id] = l.Value
			continue
		}
		if err := h.end(ctx, id); err != nil {
			return nil, nil, err
		}
		ended = append(ended, fmt.Sprintf("the %s that %s began at %s never ended", l.Value.Work, l.Value.Host, l.Value.Time.Local().Format(time.DateTime)))
	}
	// A file that cannot be read may be the lease of a live process. Such a process keeps touching it.
	for id, f := range s.Unreadable {
		name := layout.Name(layout.Work, id)
		if now.Sub(f.Time) < ExpiresAfter {
			live[id] = Lease{Work: "something that cannot be read", Host: name}
			continue
		}
		if err := h.end(ctx, id); err != nil {
			return nil, nil, err
		}
		ended = append(ended, name+" could not be read")
	}
	for id, ack := range s.Acknowledgements {
		if _, ok := live[*ack.Of]; !ok && *ack.Of != own {
			h.drop(ctx, id)
		}
	}
	for _, f := range pending {
		_, broken := s.Leases[f.ID]
		if _, ok := live[f.ID]; !ok && !broken && f.ID != own {
			if err := h.o.Store().Delete(ctx, layout.Name(layout.Pending, f.ID)); err != nil && !layout.IsMissing(err) {
				return nil, nil, err
			}
		}
	}
	return live, ended, nil
}

func (h *Holder) end(ctx context.Context, id pack.FileID) error {
	for _, name := range []string{layout.Name(layout.Work, id), layout.Name(layout.Pending, id)} {
		if err := h.o.Store().Delete(ctx, name); err != nil && !layout.IsMissing(err) {
			return fmt.Errorf("end an expired lease: %w", err)
		}
	}
	return nil
}
