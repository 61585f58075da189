package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"platter/repo/layout"
	"platter/repo/store/storetest"
)

// A program changes a repository. The tests that cut the power and that fail every call run all programs. To add one,
// write a function that returns it, and add a line in programs. A program tells the trial each promise at once. Before
// it takes something away, it tells the trial that the promise is doubtful from now on.
type program struct {
	name    string
	prepare func(x *trial) error // makes the initial state
	run     func(x *trial) error
	// mend runs before promises are checked, if the prepared state does not keep them.
	mend func(x *trial) error
	once bool // cannot be run again once it is done
}

func programs() []program {
	return []program{
		initProgram(), firstBackupProgram(), backupProgram(), joinProgram(), adoptProgram(), upgradeProgram(),
		forgetProgram(), pruneProgram(),
		addSlotProgram(), removeSlotProgram(), changePasswordProgram(),
		repairProgram(), repairLostProgram(), repairDamagedProgram(), readProgram(),
	}
}

func initProgram() program {
	return program{name: "init", prepare: func(*trial) error { return nil }, run: (*trial).init, once: true}
}

func (x *trial) init() error {
	x.password("pw", doubtful)
	_, err := Init(context.Background(), x.store, []byte("pw"), cheap, "", DefaultSettings)
	if err == nil {
		x.change(func(f *facts) { f.made, f.passwords["pw"] = true, kept })
	}
	return err
}

func firstBackupProgram() program {
	return program{name: "first backup", prepare: (*trial).init, run: func(x *trial) error { return x.backup(9, 16) }}
}

// twoBackups makes a repository with two files of every kind.
func (x *trial) twoBackups() error {
	if err := errors.Join(x.init(), x.backup(1, 10), x.backup(2, 10)); err != nil {
		return err
	}
	return x.addSlot("second")
}

func backupProgram() program {
	return program{name: "backup", prepare: (*trial).twoBackups, run: func(x *trial) error { return x.backup(9, 10) }}
}

// joinProgram is a backup that finds many small index files and joins them.
func joinProgram() program {
	return program{
		name: "join indexes", run: func(x *trial) error { return x.backup(99, 1) },
		prepare: func(x *trial) error {
			err := x.init()
			for n := range manySmall - 1 {
				err = errors.Join(err, x.backup(byte(n), 1))
			}
			return err
		},
	}
}

// adoptProgram adopts the packs that a killed backup left.
func adoptProgram() program {
	var orphans []saved
	return program{
		name: "adopt",
		prepare: func(x *trial) error {
			if err := x.twoBackups(); err != nil {
				return err
			}
			r, err := x.open()
			if err != nil {
				return err
			}
			before := storetest.Files(x, x.store)
			orphans, _, err = save(context.Background(), r, noiseChunks(9, 10, 5000))
			x.try(orphans)
			return errors.Join(err, x.deleteIndexes(func(name string) bool { return before[name] == nil }))
		},
		run: func(x *trial) error {
			r, err := x.open()
			if err != nil {
				return err
			}
			there := len(r.view().adoptable)
			n, err := r.Adopt(context.Background())
			if err == nil && n == there && n > 0 { // an unreadable pack is left for the next time
				x.chunks(orphans)
			}
			return err
		},
	}
}

// dropFeatures makes the config one of an older platter without leases.
func dropFeatures(r *Repo) error {
	r.config.WriteFeatures = nil
	file, err := r.encodeConfig()
	if err != nil {
		return err
	}
	return r.view().store.Put(context.Background(), layout.Config, file)
}

// upgradeProgram is the first backup into a repository of an older platter without leases.
func upgradeProgram() program {
	return program{
		name: "upgrade", run: func(x *trial) error { return x.backup(9, 1) },
		prepare: func(x *trial) error {
			if err := errors.Join(x.init(), x.backup(1, 4)); err != nil {
				return err
			}
			r, err := x.unlock()
			if err == nil {
				err = dropFeatures(r)
			}
			return err
		},
	}
}

func forgetProgram() program {
	return program{name: "forget", prepare: (*trial).twoBackups, run: func(x *trial) error {
		r, err := x.open()
		if err != nil {
			return err
		}
		ids, err := r.ListSnapshots(context.Background())
		for _, id := range ids {
			x.snapshot(id, doubtful)
		}
		if err == nil {
			_, err = r.Forget(context.Background(), ids)
		}
		for _, id := range ids {
			if err == nil {
				x.snapshot(id, dropped)
			}
		}
		return err
	}}
}

// deleteIndexes deletes the chosen index files.
func (x *trial) deleteIndexes(which func(name string) bool) error {
	var errs []error
	for name := range storetest.Files(x, x.store) {
		if layout.Dir(name) == layout.Index && which(name) {
			errs = append(errs, x.store.Delete(context.Background(), name))
		}
	}
	return errors.Join(errs...)
}

func addSlotProgram() program {
	return program{name: "key add", prepare: (*trial).twoBackups, run: func(x *trial) error { return x.addSlot("third") }}
}

func (x *trial) addSlot(password string) error {
	r, err := x.open()
	if err != nil {
		return err
	}
	x.password(password, doubtful)
	if _, err = r.AddSlot(context.Background(), []byte(password), cheap, ""); err == nil {
		x.password(password, kept)
	}
	return err
}

func removeSlotProgram() program {
	return program{name: "key remove", once: true, prepare: (*trial).twoBackups, run: func(x *trial) error {
		r, err := Open(context.Background(), x.store, []byte("pw"))
		if err != nil {
			return err
		}
		slots, bad, err := r.Slots(context.Background())
		if err = errors.Join(err, errors.Join(bad...)); err != nil {
			return err
		}
		slots = slices.DeleteFunc(slots, func(s Slot) bool { return s.Current })
		x.password("second", doubtful)
		if _, err = r.RemoveSlot(context.Background(), slots[0].ID.String()); err == nil {
			x.password("second", dropped)
		}
		return err
	}}
}

func changePasswordProgram() program {
	return program{
		name: "key passwd", once: true, prepare: func(x *trial) error { return errors.Join(x.init(), x.backup(1, 10)) },
		run: func(x *trial) error {
			r, err := x.open()
			if err != nil {
				return err
			}
			x.password("pw", doubtful)
			x.password("the new one", doubtful)
			if _, err = r.ChangePassword(context.Background(), []byte("the new one"), cheap, ""); err == nil {
				x.password("pw", dropped)
				x.password("the new one", kept)
			}
			return err
		},
	}
}

func (x *trial) repair() error {
	r, err := x.unlock()
	if err != nil {
		return err
	}
	done, err := r.RepairIndex(context.Background(), nil)
	if err == nil && len(done.Lost) > 0 {
		err = fmt.Errorf("repair has lost %q", done.Lost)
	}
	return err
}

func repairProgram() program {
	return program{name: "repair index", prepare: (*trial).twoBackups, run: (*trial).repair}
}

func repairLostProgram() program {
	return program{
		name: "repair a lost index", run: (*trial).repair, mend: (*trial).repair,
		prepare: func(x *trial) error {
			err := x.twoBackups()
			return errors.Join(err, x.deleteIndexes(func(string) bool { return true }))
		},
	}
}

func repairDamagedProgram() program {
	return program{
		name: "repair a damaged index", run: (*trial).repair, mend: (*trial).repair,
		prepare: func(x *trial) error {
			errs := []error{x.twoBackups()}
			for name := range storetest.Files(x, x.store) {
				if layout.Dir(name) == layout.Index {
					errs = append(errs, x.store.Put(context.Background(), name, []byte("damaged")))
				}
			}
			return errors.Join(errs...)
		},
	}
}

// readProgram changes nothing.
func readProgram() program {
	return program{name: "read", prepare: (*trial).twoBackups, run: func(x *trial) error {
		r, err := x.open()
		if err != nil {
			return err
		}
		if err := x.verifySnapshots(r); err != nil {
			return err
		}
		for _, c := range x.now().chunks {
			if err := loadOne(r, c); err != nil {
				return err
			}
		}
		return nil
	}}
}
