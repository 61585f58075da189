package heal_test

import (
	"context"
	"fmt"
	"log"

	"platter/repo"
	"platter/repo/crypt"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/backup"
	"platter/snapshot/heal"
	"platter/snapshot/image"
)

// A repository whose versions are whole needs no repair.
func ExampleRepairSnapshots() {
	ctx := context.Background()
	cost := crypt.Cost{Time: 1, Memory: 64, Lanes: 1} // of examples only
	r, err := repo.Init(ctx, new(store.Mem), []byte("secret"), cost, "", repo.DefaultSettings)
	if err != nil {
		log.Fatal(err)
	}
	version := &snapshot.Snapshot{Name: "laptop", Host: "home"}
	if err := backup.Disk(ctx, r, image.Mem{Data: []byte("a disk")}, nil, version, nil); err != nil {
		log.Fatal(err)
	}
	done, err := heal.RepairSnapshots(ctx, r, heal.RepairOptions{ReadAll: true}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(done.Snapshots), "versions are not whole")
	// Output: 0 versions are not whole
}
