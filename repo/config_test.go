package repo

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"platter/chunk"
	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
)

func configBox() *crypt.Box { return crypt.NewBox(crypt.MasterKey{1}, crypt.Config, crypt.RepoID{2}) }

func TestConfigValidation(t *testing.T) {
	good := DefaultSettings
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   error // nil if the config is good
	}{
		{"default", func(*Config) {}, nil},
		{"smallest", func(c *Config) { c.FrameSize, c.PackSize = minFrameSize, MinPackSize }, nil},
		{"largest", func(c *Config) { c.FrameSize, c.PackSize = maxFrameSize, MaxPackSize }, nil},
		{"no frame size", func(c *Config) { c.FrameSize = 0 }, pack.ErrDamaged},
		{"frame too small", func(c *Config) { c.FrameSize = minFrameSize - 1 }, pack.ErrDamaged},
		{"frame too large", func(c *Config) { c.FrameSize = maxFrameSize + 1 }, pack.ErrDamaged},
		{"negative frame", func(c *Config) { c.FrameSize = -1 << 62 }, pack.ErrDamaged},
		{"pack too small", func(c *Config) { c.PackSize = MinPackSize - 1 }, pack.ErrDamaged},
		{"pack too large", func(c *Config) { c.PackSize = MaxPackSize + 1 }, pack.ErrDamaged},
		{"chunks too large", func(c *Config) { c.Chunks.Max = 1 << 40 }, pack.ErrDamaged},
		{"no chunks", func(c *Config) { c.Chunks = chunk.Params{} }, pack.ErrDamaged},
		{"a feature", func(c *Config) { c.Features = []string{"telepathy"} }, pack.ErrNewer},
	} {
		c := Config{Settings: good}
		test.change(&c)
		plain, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := openConfig(configBox(), configBox().Seal(plain))
		if !errors.Is(err, test.want) || test.want == nil && !reflect.DeepEqual(got, c) {
			t.Errorf("%s: %+v, %v; want %v", test.name, got, err, test.want)
		}
	}
	for _, plain := range []string{"", "{", "null", "[]", "7", `{"chunks":1}`, `{"frame_size":"x"}`} {
		if _, err := openConfig(configBox(), configBox().Seal([]byte(plain))); !errors.Is(err, pack.ErrDamaged) {
			t.Errorf("%q: %v, want ErrDamaged", plain, err)
		}
	}
}

// TestConfigIsKept checks that settings stay as they were at Init.
func TestConfigIsKept(t *testing.T) {
	mem := new(store.Mem)
	settings := Settings{Chunks: chunk.ParamsFor(chunk.MinAvg), FrameSize: minFrameSize, PackSize: MinPackSize}
	made, err := Init(context.Background(), mem, []byte("pw"), cheap, "", settings)
	if err != nil {
		t.Fatal(err)
	}
	r := reopen(t, mem)
	if !reflect.DeepEqual(r.Config(), made.Config()) || r.Config().Settings != settings || r.ID() != made.ID() || len(r.ID()) != 32 {
		t.Errorf("%+v of %s, want %+v of %s", r.Config(), r.ID(), made.Config(), made.ID())
	}
}

func FuzzConfig(f *testing.F) {
	plain, err := json.Marshal(Config{Settings: DefaultSettings})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain, append(pack.Header(pack.ConfigFile), configBox().Seal(plain)...))
	f.Add([]byte(`{"chunks":{"min":4096,"avg":8192,"max":65536},"frame_size":16384,"pack_size":1048576}`), pack.Header(pack.ConfigFile))
	f.Add([]byte(`{"features":["x"]}`), pack.Header(pack.SlotFile))
	f.Add([]byte(`{"chunks":{"min":-1}}`), []byte("platter\x00\x02\x00\x01\x00"))
	f.Fuzz(func(t *testing.T, plain, file []byte) {
		c, err := openConfig(configBox(), configBox().Seal(plain))
		if err == nil {
			if err := c.Validate(); err != nil || len(c.Features) > 0 {
				t.Fatalf("%q opens: %+v, %v", plain, c, err)
			}
		} else if errors.Is(err, pack.ErrDamaged) == errors.Is(err, pack.ErrNewer) {
			t.Fatalf("%v is neither damaged nor newer, or both", err)
		}
		mem := new(store.Mem)
		if err := mem.Put(t.Context(), layout.Config, file); err != nil {
			t.Fatal(err)
		}
		got, err := readConfig(t.Context(), mem)
		if err != nil {
			t.Fatal(err)
		}
		if err = got.fault; err != nil && errors.Is(err, pack.ErrDamaged) == errors.Is(err, pack.ErrNewer) {
			t.Fatalf("%v is neither damaged nor newer, or both", err)
		}
		if _, err := Open(t.Context(), mem, []byte("pw")); err == nil {
			t.Fatal("a repository without keys opens")
		}
	})
}
