package crypt

import (
	"bytes"
	"encoding/hex"
	"io"
	"slices"
	"testing"
)

// purposes are all there are.
var purposes = []Purpose{
	DataIDs, MapIDs, Cuts, DataFrames, MapFrames, Tables, Indexes, Snapshots, Config, SlotInfo, slotKey, Tails, LocalIndex,
	Leases, Markers, Forgotten, LocalState, Verdicts,
}

func testKey() (m MasterKey) {
	for i := range m {
		m[i] = byte(i)
	}
	return m
}

// TestKeysStayTheSame pins the key of every purpose: were one to change, no repository could be read any more.
func TestKeysStayTheSame(t *testing.T) {
	want := map[Purpose]string{
		DataIDs:    "a782ea6ae1341fa9f672d3b7b5c61f0b46220d9caa994bd7448632b658aa829f",
		MapIDs:     "e4c82627776046c2729ccdd15e9e88c64ab43660d07a08851ea021e0b6f5bbc3",
		Cuts:       "4d26175ed9b07c654c3ad2cf21b47d33abb57c4e278e9e7659e62c91ddc15a21",
		DataFrames: "8f4375347c670d77101f9e39ff7bbc46eb60af2aebeb4e62a6172dfd1ad366a8",
		MapFrames:  "212d13a5309a8d7e1932f987b17461705a455a4bcfc46b8ddbcce114bd2217d7",
		Tables:     "3ef88754787f6df705bc7f03746bc4fcf10aedc4d2d775d116acb8e4339a6ee3",
		Indexes:    "78499721248d35b7ad52547709ec70487f0fddf2214b40a496e22c63b94c9cc3",
		Snapshots:  "83f94a59aea24439c783ff416a2f1ea8e300eacee522dbdd1b421cad4cf5cf2d",
		Config:     "2fadbe124a197d5df1b9c54571f8575ea707608639a3c5171507489285c5736a",
		SlotInfo:   "9885d249223cbb9506a82e18979d3270b02be0c1a22a33f2c962132caa9ccef9",
		slotKey:    "ee36b3ca185560ca3a25fe5774a100de8dde928bef88bda6aa6f545d79eb0046",
		Tails:      "f0c4f5d2b53a4a0633dee1f3fe68597e49a65ba81ae70d810ce2524a6fc34472",
		LocalIndex: "b0bca283b6f7cd6c25bb14a7c252c343d4e150761d68929a81a5bbf47a8b3725",
		Leases:     "30fde44895b5cfecc17ea9182bc5a732bc6f5d4eca81d19b3854fdca6496dfe3",
		Markers:    "560a46105a911df7cdc2efb92a2b53916765352f625b0a6107ec8f82e9f75b5b",
		Forgotten:  "f24ead51163ecf17ab03795cf332350fc02d5b8749e944f2d7e7862744cf367b",
		LocalState: "fd3d6f2c889fbcacd22a010fae2171b2c56c3d9becc2842ccece0ac479995a06",
		Verdicts:   "80de41467fa866a723f0935e284cc1a3e828693ab92dad6f990b74c9a22bf849",
	}
	if len(contexts) != len(purposes) || len(want) != len(purposes) {
		t.Fatalf("%d contexts, %d purposes, %d known keys", len(contexts), len(purposes), len(want))
	}
	seen := map[string]Purpose{}
	for i, p := range purposes {
		if int(p) != i+1 {
			t.Errorf("purpose %d has the number %d", i+1, p)
		}
		key := testKey().Key(p)
		got := hex.EncodeToString(key[:])
		if got != want[p] {
			t.Errorf("purpose %d: key %s, want %s", p, got, want[p])
		}
		if other, ok := seen[got]; ok {
			t.Errorf("purposes %d and %d have the same key", p, other)
		}
		seen[got] = p
		stream := make([]byte, 100)
		if _, err := io.ReadFull(testKey().Stream(p), stream); err != nil || !bytes.Equal(stream[:32], key[:]) {
			t.Errorf("purpose %d: the stream does not begin with the key (%v)", p, err)
		}
	}
}

func TestNewKeysDiffer(t *testing.T) {
	key, id := NewMasterKey(), NewRepoID()
	if key == (MasterKey{}) || id == (RepoID{}) || key == NewMasterKey() || id == NewRepoID() {
		t.Error("two drawn keys are the same, or nothing was drawn")
	}
}

// TestBoxStaysTheSame opens what was once sealed: the associated data must never change.
func TestBoxStaysTheSame(t *testing.T) {
	sealed, err := hex.DecodeString("fc7cbb71e5f010d2e406f2771f51c37e66ceb43e65fbb9d22e1098c48c8b56e82d5a759ec1f0e9725aca31d49c018606f878")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := NewBox(testKey(), Snapshots, RepoID{1, 2, 3}).Open(sealed)
	if err != nil || string(plain) != "a snapshot" {
		t.Errorf("%q, %v", plain, err)
	}
}

func TestBoxRoundTrip(t *testing.T) {
	b := NewBox(testKey(), DataFrames, RepoID{1})
	for _, n := range []int{0, 1, 16, 100, 70000} {
		plain := bytes.Repeat([]byte("p"), n)
		first, second := b.Seal(plain), b.Seal(plain)
		if bytes.Equal(first, second) || len(first) != n+overhead || n > 0 && bytes.Contains(first, plain) && n > 16 {
			t.Errorf("%d bytes are sealed the same twice, in %d, or can be read", n, len(first))
		}
		for _, room := range []int{0, 8, 100} { // behind the plaintext, where the tag belongs
			buf := append(make([]byte, nonceSize, nonceSize+n+room), plain...)
			got, err := b.Open(b.SealInPlace(buf))
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes with room for %d: %v, or others", n, room, err)
			}
		}
		if got, err := b.Open(first); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: %v, or others", n, err)
		}
	}
}

func TestBoxDamage(t *testing.T) {
	b := NewBox(testKey(), Tables, RepoID{1})
	sealed := b.Seal([]byte("some table"))
	for bit := range 8 * len(sealed) {
		bad := slices.Clone(sealed)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := b.Open(bad); err == nil {
			t.Errorf("opens with bit %d flipped", bit)
		}
	}
	for n := range sealed {
		if _, err := b.Open(slices.Clone(sealed[:n])); err == nil {
			t.Errorf("opens when cut to %d bytes", n)
		}
	}
	if _, err := b.Open(append(slices.Clone(sealed), 0)); err == nil {
		t.Error("opens with a byte behind it")
	}
}

// TestBoxesAreNotInterchangeable opens each purpose's seal with each other's box: by the key alone, and by the
// associated data alone.
func TestBoxesAreNotInterchangeable(t *testing.T) {
	repo, other := RepoID{1}, RepoID{15: 1}
	key := [32]byte{7}
	for _, p := range purposes {
		sealed := NewBox(testKey(), p, repo).Seal([]byte("x"))
		sameKey := newBox(key, p, repo, nil).Seal([]byte("x"))
		sameAD := newBox(testKey().Key(p), 1, repo, nil).Seal([]byte("x"))
		for _, q := range purposes {
			want := p == q
			if _, err := NewBox(testKey(), q, repo).Open(slices.Clone(sealed)); (err == nil) != want {
				t.Errorf("sealed for %d, opened for %d: %v", p, q, err)
			}
			if _, err := newBox(key, q, repo, nil).Open(slices.Clone(sameKey)); (err == nil) != want {
				t.Errorf("under one key, sealed for %d, opened for %d: %v", p, q, err)
			}
			if _, err := newBox(testKey().Key(q), 1, repo, nil).Open(slices.Clone(sameAD)); (err == nil) != want {
				t.Errorf("with one associated data, sealed under key %d, opened under %d: %v", p, q, err)
			}
			if _, err := NewBox(testKey(), q, other).Open(slices.Clone(sealed)); err == nil {
				t.Errorf("sealed for %d, opened for %d of another repository", p, q)
			}
			if _, err := NewBox(MasterKey{1}, q, repo).Open(slices.Clone(sealed)); err == nil {
				t.Errorf("sealed for %d, opened for %d under another master key", p, q)
			}
		}
		if _, err := newBox(key, p, repo, []byte("bound")).Open(slices.Clone(sameKey)); err == nil {
			t.Errorf("purpose %d: bound to nothing, opened as bound", p)
		}
	}
}
