package backup_test

import (
	"context"
	"fmt"
	"log"

	"platter/repo"
	"platter/repo/crypt"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/backup"
	"platter/snapshot/image"
)

// The second version of a disk stores what is new in it.
func ExampleDisk() {
	ctx := context.Background()
	cost := crypt.Cost{Time: 1, Memory: 64, Lanes: 1} // of examples only
	r, err := repo.Init(ctx, new(store.Mem), []byte("secret"), cost, "", repo.DefaultSettings)
	if err != nil {
		log.Fatal(err)
	}
	disk := image.Sparse{Bytes: 8 << 30, Fills: []image.Fill{{Off: 1 << 30, Len: 1 << 20, Seed: 1}}}
	first := &snapshot.Snapshot{Name: "laptop", Host: "home"}
	if err := backup.Disk(ctx, r, disk, nil, first, nil); err != nil {
		log.Fatal(err)
	}
	second := &snapshot.Snapshot{Name: "laptop", Host: "home"}
	if err := backup.Disk(ctx, r, disk, first, second, nil); err != nil {
		log.Fatal(err)
	}
	fmt.Println(first.Stats.Data, "bytes of data; then", second.Stats.New, "new ones")
	// Output: 1048576 bytes of data; then 0 new ones
}
