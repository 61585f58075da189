package repo_test

import (
	"context"
	"fmt"
	"log"

	"platter/chunk"
	"platter/repo"
	"platter/repo/crypt"
	"platter/repo/store"
)

// A chunk is stored once, and loaded by its ID.
func ExampleRepo_Write() {
	ctx := context.Background()
	cost := crypt.Cost{Time: 1, Memory: 64, Lanes: 1} // of examples only
	r, err := repo.Init(ctx, new(store.Mem), []byte("secret"), cost, "", repo.DefaultSettings)
	if err != nil {
		log.Fatal(err)
	}
	var id chunk.ID
	stats, err := r.Write(ctx, func(ctx context.Context, w *repo.Writer) error {
		lane, data := w.Lane(), []byte("a chunk of a disk")
		id = lane.Name(data)
		for range 2 {
			if err := lane.Save(ctx, id, data); err != nil {
				return err
			}
		}
		return lane.Close(ctx)
	})
	if err != nil {
		log.Fatal(err)
	}
	err = r.Load(ctx, chunk.Data, []chunk.ID{id}, func(_ int, data []byte) error {
		fmt.Printf("%s, stored %d time\n", data, stats.Chunks.Load())
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: a chunk of a disk, stored 1 time
}
