package crypt_test

import (
	"fmt"

	"platter/repo/crypt"
)

func Example() {
	master, repo := crypt.NewMasterKey(), crypt.NewRepoID()
	kdf := crypt.NewKDF(crypt.Cost{Time: 1, Memory: 64, Lanes: 1}) // use crypt.DefaultCost
	slot := crypt.NewSlot(master, repo, kdf, kdf.Stretch([]byte("secret")), nil)

	opened, err := slot.Unlock(kdf.Stretch([]byte("secret")))
	fmt.Println(opened == master, err)
	_, err = slot.Unlock(kdf.Stretch([]byte("guess")))
	fmt.Println(err)

	sealed := crypt.NewBox(master, crypt.Snapshots, repo).Seal([]byte("a snapshot"))
	plain, err := crypt.NewBox(opened, crypt.Snapshots, repo).Open(sealed)
	fmt.Printf("%s %v\n", plain, err)
	// Output:
	// true <nil>
	// wrong password
	// a snapshot <nil>
}
