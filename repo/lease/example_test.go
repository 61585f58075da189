package lease_test

import (
	"context"
	"fmt"

	"platter/pack"
	"platter/repo/lease"
	"platter/repo/store"
)

// ExampleHolder_Hold has a prune condemn a pack while a backup is at work. That backup may build on the pack. The next
// backup acknowledges the marker, so it does not.
func ExampleHolder_Hold() {
	ctx := context.Background()
	mem := new(store.Mem)
	backup := func(fn func(context.Context, *lease.Holder) error) error {
		h := newHolder(mem) // as every process has its own
		return h.Hold(ctx, lease.BackingUp, func(ctx context.Context) error { return fn(ctx, h) })
	}
	say := func(who string, h *lease.Holder) error {
		id, found, _ := h.Held()
		now, err := h.Read(ctx)
		if err != nil {
			return err
		}
		marker := now.MarkerIDs()[0]
		fmt.Printf("%s: %d condemned packs when it began, acknowledged: %v\n", who, len(found.Condemned()), now.Acknowledges(id, marker))
		return nil
	}
	err := backup(func(ctx context.Context, first *lease.Holder) error {
		if err := newHolder(mem).Mark(ctx, []pack.FileID{{1}}, false); err != nil { // the prune
			return err
		}
		if err := say("first", first); err != nil {
			return err
		}
		return backup(func(_ context.Context, second *lease.Holder) error { return say("second", second) })
	})
	fmt.Println(err)
	// Output:
	// first: 0 condemned packs when it began, acknowledged: false
	// second: 1 condemned packs when it began, acknowledged: true
	// <nil>
}
