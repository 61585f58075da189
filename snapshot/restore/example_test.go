package restore_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

	"platter/repo"
	"platter/repo/crypt"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/backup"
	"platter/snapshot/image"
	"platter/snapshot/restore"
)

// A disk is stored as a version, and written out again.
func ExampleToStream() {
	ctx := context.Background()
	cost := crypt.Cost{Time: 1, Memory: 64, Lanes: 1} // of examples only
	r, err := repo.Init(ctx, new(store.Mem), []byte("secret"), cost, "", repo.DefaultSettings)
	if err != nil {
		log.Fatal(err)
	}
	disk := image.Mem{Data: []byte("every byte of a disk")}
	version := &snapshot.Snapshot{Name: "laptop", Host: "home"}
	if err := backup.Disk(ctx, r, disk, nil, version, nil); err != nil {
		log.Fatal(err)
	}
	var out bytes.Buffer
	if err := restore.ToStream(ctx, r, version, version.Whole(), &out, nil); err != nil {
		log.Fatal(err)
	}
	fmt.Println(out.String())
	// Output: every byte of a disk
}
