package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"platter/pack"
	"platter/repo"
)

var (
	// ErrDrastic says that much would be forgotten at once, which is a slip more often than a wish.
	ErrDrastic = errors.New("more than half of a disk's versions would go at once")
	// ErrKeepsNone says that a policy would leave nothing of a disk, which no policy is made for.
	ErrKeepsNone = errors.New("the policy keeps no version")
)

// minUnreadable is how many digits of its id name a snapshot that cannot be read: more than elsewhere, since there is
// nothing else to know it by.
const minUnreadable = 8

// A Retention says what is to be forgotten, and what stays and why.
type Retention struct {
	Disks      []Versions
	Unreadable []*Unreadable // that go: only those named by their ids ever do
	Passed     []*Snapshot   // that names passed over, since they are from the future
}

// ByPolicy plans to forget what a policy does not keep.
func ByPolicy(p Policy, snapshots []*Snapshot, now time.Time, loc *time.Location) *Retention {
	return &Retention{Disks: p.Decide(snapshots, now, loc)}
}

// ByName plans to forget the snapshots that specs name, as Find reads them, all of them before the first is gone; or, by
// at least eight digits of their ids, snapshots that cannot be read. The plan has the disks of which something goes.
func ByName(specs []string, snapshots []*Snapshot, bad []error, now time.Time) (*Retention, error) {
	plan := new(Retention)
	named := map[pack.FileID]bool{}
	for _, spec := range specs {
		s, passed, err := Find(snapshots, spec, now)
		plan.Passed = append(plan.Passed, passed...)
		u, ambiguous := findUnreadable(bad, spec)
		switch {
		case ambiguous || u != nil && !errors.Is(err, ErrNotFound):
			return nil, fmt.Errorf("%w: %q also begins the id of one that cannot be read; write more of it", ErrAmbiguous, spec)
		case u != nil:
			if !slices.Contains(plan.Unreadable, u) {
				plan.Unreadable = append(plan.Unreadable, u)
			}
		case err != nil:
			return nil, err
		default:
			named[s.ID] = true
		}
	}
	for _, v := range versions(snapshots, now) {
		for i := range v.Decisions {
			if d := &v.Decisions[i]; !named[d.ID] {
				d.because("not named")
			}
		}
		if len(v.Going()) > 0 {
			plan.Disks = append(plan.Disks, v)
		}
	}
	return plan, nil
}

// findUnreadable returns the one file whose id begins with spec, nil for none.
func findUnreadable(bad []error, spec string) (found *Unreadable, ambiguous bool) {
	for _, err := range bad {
		u, ok := errors.AsType[*Unreadable](err)
		if !ok || len(spec) < minUnreadable || !strings.HasPrefix(u.ID.String(), strings.ToLower(spec)) {
			continue
		}
		if found != nil {
			return nil, true
		}
		found = u
	}
	return found, false
}

// Drastic returns an error that wraps ErrDrastic and names the disks of which more than half goes. Versions from the
// future make up for no others, but they are versions too: neither more than half of those whose time has come may go
// nor more than half of all. Of a file that cannot be read nobody knows what it is half of.
func (p *Retention) Drastic() error {
	var lines []string
	for _, v := range p.Disks {
		all, going := len(v.Decisions), len(v.Going())
		if counted, some := v.counted(); 2*some > counted {
			all, going = counted, some
		}
		if 2*going > all {
			lines = append(lines, fmt.Sprintf("%d of %d of %s", going, all, v))
		}
	}
	for _, u := range p.Unreadable {
		lines = append(lines, fmt.Sprintf("%s, which cannot be read: nobody knows which disk it is of", u.ID))
	}
	if len(lines) == 0 {
		return nil
	}
	return fmt.Errorf("%w:\n%s", ErrDrastic, strings.Join(lines, "\n"))
}

// KeepsNone returns an error that wraps ErrKeepsNone and names the disks of which every version goes whose time has come.
func (p *Retention) KeepsNone() error {
	var names []string
	for _, v := range p.Disks {
		if all, going := v.counted(); all > 0 && going == all {
			names = append(names, v.String())
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("%w of %s", ErrKeepsNone, strings.Join(names, ", "))
}

// Hold keeps the versions that are being read, and returns how many of those that would have gone.
func (p *Retention) Hold(read map[pack.FileID]repo.Lease) (held int) {
	for _, v := range p.Disks {
		for i := range v.Decisions {
			d := &v.Decisions[i]
			if by, ok := read[d.ID]; ok && !d.Stays() {
				d.because("read by " + by.String())
				held++
			}
		}
	}
	return held
}

// IDs returns what goes: of each disk the oldest first, so that what was not yet removed when something fails is new.
func (p *Retention) IDs() (ids []pack.FileID) {
	for _, u := range p.Unreadable {
		ids = append(ids, u.ID)
	}
	for _, v := range p.Disks {
		for _, s := range v.Going() {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// Run forgets what goes, and returns how many snapshots are gone. Files that cannot be read are read again, and kept aside: nobody
// knows what was in them.
func (p *Retention) Run(ctx context.Context, r *repo.Repo) (removed int, err error) {
	var aside []pack.FileID
	for _, u := range p.Unreadable {
		if still := Reread(ctx, r, u); errors.Is(still, ErrReadable) {
			return 0, fmt.Errorf("forget snapshots: %w", still)
		}
		aside = append(aside, u.ID)
	}
	if removed, err = r.SetAside(ctx, aside); err != nil || len(p.Disks) == 0 {
		return removed, err
	}
	n, err := r.Forget(ctx, p.IDs()[removed:])
	return removed + n, err
}
