package nbd_test

import (
	"context"
	"fmt"
	"io/fs"
	"log"

	"platter/snapshot/image"
	client "platter/snapshot/image/nbd"
	"platter/snapshot/image/nbd/wire"
	"platter/snapshot/serve/nbd"
)

// one is a server's only export.
type one struct{ disk image.Disk }

func (o one) List(context.Context) ([]wire.Listed, error) { return []wire.Listed{{Name: "disk"}}, nil }

func (o one) Open(_ context.Context, name string) (*nbd.Export, error) {
	if name != "disk" {
		return nil, fs.ErrNotExist
	}
	return &nbd.Export{Disk: o.disk}, nil
}

// A disk is served on loopback, and read by a client.
func ExampleServe() {
	ctx, end := context.WithCancel(context.Background())
	l, err := nbd.ListenTCP(ctx, "127.0.0.1:0", nil)
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error)
	go func() {
		served <- nbd.Serve(ctx, l, one{image.Mem{Data: []byte("every byte of a disk")}}, nbd.Options{})
	}()
	d, err := client.Open(ctx, "nbd://"+l.Addr().String()+"/disk", client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	p := make([]byte, d.Size())
	if _, err := d.ReadAt(p, 0); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", p)
	d.Close()
	end()
	fmt.Println(<-served)
	// Output:
	// every byte of a disk
	// <nil>
}
