package repo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"platter/repo/store"
	"platter/repo/store/storetest"
)

// prepared returns the disk that a program works on, and what is promised of it.
func (p program) prepared(t testing.TB) (*storetest.Disk, *promises) {
	t.Helper()
	disk := storetest.NewDisk()
	x := &trial{t, newPromises(), store.NewLocalOn(disk)}
	if err := p.prepare(x); err != nil {
		t.Fatalf("prepare %s: %v", p.name, err)
	}
	return disk.Lose(storetest.Kept), x.promises
}

// survive checks that a repository has kept its promises whatever happened to a program. The next backup works, and
// what both promised survives a power cut.
func (p program) survive(x *trial, disk *storetest.Disk) error {
	if !x.now().made {
		if err := x.surviveInit(); err != nil {
			return err
		}
	}
	if p.mend != nil {
		if err := p.mend(x); err != nil {
			return fmt.Errorf("mend: %w", err)
		}
	}
	if err := x.verify(); err != nil {
		return err
	}
	// It is a backup of the same disk. What the program saved comes again, and the backup builds on what is stored of
	// it.
	var again [][]byte
	for _, c := range x.tried {
		again = append(again, c.data)
	}
	if err := x.backupOf(append(again, noiseChunks(200, 2, 5000)...)); err != nil {
		return fmt.Errorf("the next backup: %w", err)
	}
	x.store = store.NewLocalOn(disk.Lose(storetest.Lost))
	if err := x.verify(); err != nil {
		return fmt.Errorf("after the next backup and another cut: %w", err)
	}
	return nil
}

// surviveInit checks a repository that was never reported as made. Either it exists and works, or it lacks only its
// config, or it does not exist and can be made. If only its key is left, the folder must be emptied first, because that
// might be the key of a real repository.
func (x *trial) surviveInit() error {
	ctx := context.Background()
	err := Find(ctx, x.store)
	if err == nil {
		x.change(func(f *facts) { f.made, f.passwords["pw"] = true, kept })
		r, err := x.unlock()
		if err == nil && r.ConfigFault() != nil { // repair completes an init that was killed before it made the config
			_, err = r.RepairConfig(ctx)
		}
		return err
	} else if !errors.Is(err, ErrNoRepository) {
		return err
	} else if err := x.init(); errors.Is(err, ErrExists) && strings.Contains(err.Error(), "empty the folder") {
		for name := range storetest.Files(x, x.store) {
			if err := x.store.Delete(ctx, name); err != nil {
				return err
			}
		}
		if err := x.init(); err != nil {
			return fmt.Errorf("init in an emptied folder: %w", err)
		}
	} else if err != nil {
		return fmt.Errorf("the next init: %w", err)
	}
	return nil
}
