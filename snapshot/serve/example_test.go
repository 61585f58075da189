package serve_test

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
	"platter/snapshot/serve"
)

// A version is opened as a disk and read at any place.
func ExampleLibrary() {
	ctx := context.Background()
	cost := crypt.Cost{Time: 1, Memory: 64, Lanes: 1} // of examples only
	r, err := repo.Init(ctx, new(store.Mem), []byte("secret"), cost, "", repo.DefaultSettings)
	if err != nil {
		log.Fatal(err)
	}
	version := &snapshot.Snapshot{Name: "laptop", Host: "home"}
	if err := backup.Disk(ctx, r, image.Mem{Data: []byte("a disk of last week")}, nil, version, nil); err != nil {
		log.Fatal(err)
	}
	library := serve.New(ctx, r, serve.Options{})
	defer library.Close()
	disk, err := library.Open(ctx, version)
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	p := make([]byte, 9)
	if _, err := disk.ReadAt(p, 10); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", p)
	// Output: last week
}
