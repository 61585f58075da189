package store_test

import (
	"context"
	"fmt"

	"platter/repo/store"
)

func Example() {
	ctx := context.Background()
	s := new(store.Mem)
	defer s.Close()
	if err := s.Put(ctx, "packs/ab", []byte("frames")); err != nil {
		fmt.Println(err)
		return
	}
	data, err := s.Get(ctx, "packs/ab", 2, 3)
	fmt.Printf("%s %v\n", data, err)
	// Output: ame <nil>
}

func ExampleAs() {
	var s store.Store = store.DryRun{Store: store.NewCached(new(store.Mem), "cache", "index")}
	_, isCached := store.As[*store.Cached](s)
	_, isLocal := store.As[*store.Local](s)
	fmt.Println(isCached, isLocal)
	// Output: true false
}
