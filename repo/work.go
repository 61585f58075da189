package repo

import (
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

// A Work is what somebody does in a repository.
type Work string

const (
	BackingUp  Work = "backup"
	Pruning    Work = "prune"
	Repairing  Work = "repair"
	Restoring  Work = "restore"
	Exporting  Work = "export"
	Checking   Work = "check"
	Forgetting Work = "forget"
)

// builds reports whether such work builds upon what is there: what it found in the index it does not store again. Whoever
// deletes packs waits for it. Of work that this code does not know, that is assumed.
func (w Work) builds() bool {
	return w != Restoring && w != Exporting && w != Checking && w != Forgetting
}

// alone reports whether no two may do such work at once: both would put new index files in the place of the same old ones.
func (w Work) alone() bool { return w == Pruning || w == Repairing }

// A Lease says that somebody is at work. Its file is touched as long as he is: one that was not for a while is of somebody
// who is dead, or cut off.
type Lease struct {
	Work Work      `json:"work"`
	Host string    `json:"host"`
	PID  int       `json:"pid"`
	Boot string    `json:"boot,omitempty"` // where the PID means something; see thisBoot
	Time time.Time `json:"time"`           // when it began, by the clock of whoever works: for people
	// Honours are the plans that he knows of. Of all others, what they name he may be building upon. A second file says so:
	// were another lease put in the place of the first, somebody who has just taken its holder for dead would not see it.
	Honours []pack.FileID `json:"honours,omitempty"`
	Of      *pack.FileID  `json:"of,omitempty"` // the lease that this second file belongs to
	// Reads are the snapshots that a reader reads. It builds upon nothing, so that no plan concerns it.
	Reads []pack.FileID `json:"reads,omitempty"`
}

// isDead reports whether the lease is of a process of this machine that has died. Were that wrong, its holder would lose
// his lease, and nothing else.
func (l Lease) isDead() bool { return l.Boot != "" && l.Boot == thisBoot() && isDead(l.PID) }

// A plan names packs that nobody may build upon any more.
type plan struct {
	Packs []pack.FileID `json:"packs"`
	// Damaged says that the packs stay where they are, and are only not to be trusted. Else they are about to be deleted.
	Damaged bool      `json:"damaged,omitempty"`
	Host    string    `json:"host"`
	Time    time.Time `json:"time"` // by the clock of whoever made it: for people
}

// packsPerPlan keeps a plan's file well below maxPlan.
const packsPerPlan = 100_000

// A dated thing is something that a file says, and when the file was written or touched, by the store's clock.
type dated[T any] struct {
	says T
	time time.Time
}

// A workplace is what the folder of leases and plans holds. Both are in one folder on purpose: who puts a file into it has a
// network file system forget what it remembers of the folder, so that he sees what others have put there.
type workplace struct {
	leases map[pack.FileID]dated[Lease]
	vows   map[pack.FileID]Lease // files that say of a lease what its holder honours
	plans  map[pack.FileID]dated[plan]
	bad    map[pack.FileID]error // what cannot be read, each error naming its file
	times  map[pack.FileID]time.Time
}

// readWorkNow is readWork for whoever deletes, or builds upon, what it does not show.
func (r *Repo) readWorkNow(ctx context.Context) (*workplace, error) {
	if err := store.Refresh(ctx, r.store, layout.Work); err != nil {
		return nil, err
	}
	return r.readWork(ctx)
}

// readWork lists leases and plans. A file that is gone when it is read has done its duty.
func (r *Repo) readWork(ctx context.Context) (*workplace, error) {
	files, err := layout.List(ctx, r.store, layout.Work)
	if err != nil {
		return nil, err
	}
	w := &workplace{map[pack.FileID]dated[Lease]{}, map[pack.FileID]Lease{}, map[pack.FileID]dated[plan]{}, map[pack.FileID]error{}, map[pack.FileID]time.Time{}}
	for _, f := range files {
		err := r.readWorkFile(ctx, w, f)
		if err == nil || layout.IsMissing(err) {
			continue
		}
		if !layout.IsPermanent(err) {
			return nil, err
		}
		w.bad[f.ID], w.times[f.ID] = err, f.Time
	}
	return w, nil
}

func (r *Repo) readWorkFile(ctx context.Context, w *workplace, f layout.File) error {
	name := layout.Name(layout.Work, f.ID)
	file, err := layout.Read(ctx, r.store, name, layout.MaxMarker)
	if err != nil {
		return err
	}
	if pack.Sum(file) != f.ID {
		return fmt.Errorf("%s: %w: its bytes do not match its name", name, pack.ErrDamaged)
	}
	if body, err := pack.ParseHeader(file, pack.LeaseFile); err == nil {
		l, err := openWork[Lease](r, body, crypt.Leases)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if l.Of != nil {
			w.vows[f.ID] = l
		} else {
			w.leases[f.ID] = dated[Lease]{l, f.Time}
		}
		return nil
	}
	body, err := pack.ParseHeader(file, pack.PlanFile)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	p, err := openWork[plan](r, body, crypt.Plans)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	w.plans[f.ID] = dated[plan]{p, f.Time}
	return nil
}

// openWork reads what a lease or a plan says.
func openWork[T any](r *Repo, sealed []byte, p crypt.Purpose) (says T, err error) {
	plain, err := crypt.NewBox(r.master, p, r.id).Open(sealed)
	if err == nil {
		err = json.Unmarshal(plain, &says)
	}
	if err != nil {
		return says, fmt.Errorf("%w: %w", pack.ErrDamaged, err)
	}
	return says, nil
}

func (r *Repo) putLease(ctx context.Context, l Lease) (pack.FileID, error) {
	return r.putJSON(ctx, layout.Work, pack.LeaseFile, crypt.Leases, l)
}

func (r *Repo) putPlan(ctx context.Context, p plan) (pack.FileID, error) {
	return r.putJSON(ctx, layout.Work, pack.PlanFile, crypt.Plans, p)
}

// putJSON stores what is said under the name that follows from its bytes.
func (r *Repo) putJSON(ctx context.Context, dir string, kind pack.FileKind, p crypt.Purpose, says any) (pack.FileID, error) {
	plain, err := json.Marshal(says)
	if err != nil {
		return pack.FileID{}, fmt.Errorf("encode %T: %w", says, err)
	}
	id, _, err := layout.PutNamed(ctx, r.store, dir, kind, crypt.NewBox(r.master, p, r.id).Seal(layout.Pad(plain)))
	return id, err
}

// honours reports whether the holder of a lease knows of a plan.
func (w *workplace) honours(lease, plan pack.FileID) bool {
	for _, vow := range w.vows {
		if *vow.Of == lease && slices.Contains(vow.Honours, plan) {
			return true
		}
	}
	return false
}

// condemned returns the packs that plans condemn, and damaged those that they say are damaged.
func (w *workplace) condemned() map[pack.FileID]bool { return w.named(false) }
func (w *workplace) damaged() map[pack.FileID]bool   { return w.named(true) }

func (w *workplace) named(damaged bool) map[pack.FileID]bool {
	packs := map[pack.FileID]bool{}
	for _, p := range w.plans {
		for _, id := range p.says.Packs {
			if p.says.Damaged == damaged {
				packs[id] = true
			}
		}
	}
	return packs
}

// planIDs are the names of all plans, sorted.
func (w *workplace) planIDs() []pack.FileID {
	return slices.SortedFunc(maps.Keys(w.plans), func(a, b pack.FileID) int { return slices.Compare(a[:], b[:]) })
}

// unread returns an error that says what cannot be read, nil where all can. A plan that cannot be read may condemn anything,
// so nothing can be built upon what is there.
func (w *workplace) unread() error {
	if len(w.bad) == 0 {
		return nil
	}
	errs := slices.SortedFunc(maps.Values(w.bad), func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return fmt.Errorf("%w; it may be a plan of what is to be deleted: 'platter prune' clears it away", errors.Join(errs...))
}
