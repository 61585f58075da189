package repo

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// TestLostConfig damages a config in every way and then runs everything, with either password and a warning. Then
// repair config restores the original.
func TestLostConfig(t *testing.T) {
	ctx := t.Context()
	x := newSample(t)
	configs := changes(x.files[layout.Config])
	configs["missing"] = nil
	configs["another repository's"] = newSample(t).files[layout.Config]
	for what, config := range configs {
		files := x.clone().files
		if files[layout.Config] = config; config == nil {
			delete(files, layout.Config)
		}
		mem := storetest.MemOf(t, files)
		// A copy must not replace that.
		if _, err := pack.ParseHeader(config, pack.ConfigFile); errors.Is(err, pack.ErrNewer) {
			if _, err := Open(ctx, mem, []byte("pw")); !errors.Is(err, pack.ErrNewer) {
				t.Errorf("%s: %v, want ErrNewer", what, err)
			}
			continue
		}
		for _, password := range []string{"pw", "second"} {
			r, err := Open(ctx, mem, []byte(password))
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if r.ConfigFault() == nil || !strings.HasPrefix(r.ConfigFault().Error(), layout.Config+": ") {
				t.Errorf("%s: the fault is %v", what, r.ConfigFault())
			}
			if want := reopen(t, storetest.MemOf(t, x.files)).Config(); !reflect.DeepEqual(r.Config(), want) {
				t.Errorf("%s: %+v, want %+v", what, r.Config(), want)
			}
		}
		if _, err := Open(ctx, mem, []byte("wrong")); !errors.Is(err, crypt.ErrWrongPassword) {
			t.Errorf("%s: a wrong password: %v", what, err)
		}
		if err := Find(ctx, mem); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := Init(ctx, mem, []byte("new"), cheap, "", DefaultSettings); !errors.Is(err, ErrExists) ||
			config == nil && !strings.Contains(err.Error(), "repair config") {
			t.Errorf("%s: init says %v", what, err)
		}
		if _, err := putSnapshot(ctx, reopen(t, mem), []byte("{}")); err != nil {
			t.Errorf("%s: a snapshot: %v", what, err)
		}
		if _, err := reopen(t, mem).AddSlot(ctx, []byte("third"), cheap, ""); err != nil {
			t.Errorf("%s: key add: %v", what, err)
		}
		more := mustSave(t, reopen(t, mem), noiseChunks(9, 4, 6000))
		wantLoads(t, reopen(t, mem), append(more, x.chunks...))
		report, err := reopen(t, mem).Check(ctx, CheckOptions{}, nil)
		if err != nil || len(report.Damage) != 1 || !strings.HasPrefix(report.Damage[0], layout.Config+": ") || !slices.Contains(report.Hints, HintConfig) {
			t.Errorf("%s: check: %v, %+v", what, err, report)
		}
		if done, err := reopen(t, mem).RepairConfig(ctx); err != nil || done.Fault == "" {
			t.Errorf("%s: repair config: %+v, %v", what, done, err)
		}
		x.wantWhole(t, mem)
		if r := reopen(t, mem); r.ConfigFault() != nil || !reflect.DeepEqual(r.Config(), reopen(t, storetest.MemOf(t, x.files)).Config()) {
			t.Errorf("%s: after repair config: %v, %+v", what, r.ConfigFault(), r.Config())
		}
		if done, err := reopen(t, mem).RepairConfig(ctx); err != nil || done.Fault != "" {
			t.Errorf("%s: repair config again: %+v, %v", what, done, err)
		}
	}
}

// TestConfigCopiesAge checks that a config made from copies demands all that the missing config demanded, and has its last
// values.
func TestConfigCopiesAge(t *testing.T) {
	ctx := t.Context()
	fill := func(t *testing.T) *store.Mem {
		mem := new(store.Mem)
		r := testRepo(t, mem)
		if err := dropFeatures(r); err != nil { // the slot has a copy without parity, but with leases
			t.Fatal(err)
		}
		if err := r.setParity(ctx, 30); err != nil {
			t.Fatal(err)
		}
		return mem
	}
	t.Run("the file of copies", func(t *testing.T) {
		mem := fill(t)
		storetest.Remove(t, mem, layout.Config)
		if c := reopen(t, mem).Config(); c.Parity != 30 || !slices.Contains(c.WriteFeatures, Leases) {
			t.Errorf("%+v", c)
		}
	})
	t.Run("a newer key", func(t *testing.T) {
		mem := fill(t)
		if _, err := reopen(t, mem).AddSlot(ctx, []byte("second"), cheap, ""); err != nil {
			t.Fatal(err)
		}
		storetest.Remove(t, mem, layout.Config, layout.ConfigCopy)
		if c := reopen(t, mem).Config(); !slices.Contains(c.WriteFeatures, Leases) {
			t.Errorf("%+v", c)
		}
	})
	t.Run("write features of any copy", func(t *testing.T) {
		for _, where := range []string{layout.ConfigCopy, "a key"} {
			mem := fill(t)
			r := reopen(t, mem)
			r.config.WriteFeatures = append(r.config.WriteFeatures, "telepathy")
			if where == layout.ConfigCopy {
				file, err := r.encodeConfig()
				if err = errors.Join(err, mem.Put(ctx, layout.ConfigCopy, file)); err != nil {
					t.Fatal(err)
				}
			} else if _, err := r.putSlot(ctx, crypt.NewKDF(cheap), []byte("second"), ""); err != nil {
				t.Fatal(err)
			}
			storetest.Remove(t, mem, layout.Config)
			if _, err := reopen(t, mem).RepairConfig(ctx); !errors.Is(err, pack.ErrNewer) {
				t.Errorf("%s: repair config: %v, want ErrNewer", where, err)
			}
			if _, _, err := save(ctx, reopen(t, mem), noiseChunks(1, 2, 6000)); !errors.Is(err, pack.ErrNewer) {
				t.Errorf("%s: a backup: %v, want ErrNewer", where, err)
			}
		}
	})
	t.Run("features of any copy", func(t *testing.T) {
		mem := fill(t)
		r := reopen(t, mem)
		r.config.Features = []string{"telepathy"}
		if _, err := r.putSlot(ctx, crypt.NewKDF(cheap), []byte("second"), ""); err != nil {
			t.Fatal(err)
		}
		storetest.Remove(t, mem, layout.Config)
		if _, err := Open(ctx, mem, []byte("pw")); !errors.Is(err, pack.ErrNewer) {
			t.Errorf("%v, want ErrNewer", err)
		}
	})
	t.Run("a feature that somebody else added", func(t *testing.T) {
		mem := fill(t)
		r, other := reopen(t, mem), reopen(t, mem)
		other.config.WriteFeatures = append(other.config.WriteFeatures, "telepathy")
		file, err := other.encodeConfig()
		if err = errors.Join(err, mem.Put(ctx, layout.Config, file)); err != nil {
			t.Fatal(err)
		}
		if err := r.setParity(ctx, 50); !errors.Is(err, pack.ErrNewer) {
			t.Errorf("%v, want ErrNewer", err)
		}
		if c := reopen(t, mem).Config(); !slices.Contains(c.WriteFeatures, "telepathy") {
			t.Errorf("it was dropped: %+v", c)
		}
	})
	t.Run("a damaged file of copies", func(t *testing.T) {
		mem := fill(t)
		if err := mem.Put(ctx, layout.ConfigCopy, []byte("damaged")); err != nil {
			t.Fatal(err)
		}
		report, err := reopen(t, mem).Check(ctx, CheckOptions{}, nil)
		if err != nil || len(report.Damage) != 1 || !strings.HasPrefix(report.Damage[0], layout.ConfigCopy+": ") {
			t.Errorf("check: %v, %+v", err, report)
		}
		if done, err := reopen(t, mem).RepairConfig(ctx); err != nil || done.Fault == "" {
			t.Errorf("%+v, %v", done, err)
		}
		if report, err := reopen(t, mem).Check(ctx, CheckOptions{}, nil); err != nil || len(report.Damage) > 0 {
			t.Errorf("check: %v, %+v", err, report)
		}
	})
}

// TestLostConfigAmongKeys covers the key of another repository, left by an init that came second. When the config is
// missing, the key must not open that other repository, nor harm this one.
func TestLostConfigAmongKeys(t *testing.T) {
	ctx := t.Context()
	x := newSample(t)
	other := new(store.Mem)
	foreign, err := Init(ctx, other, []byte("other"), cheap, "", DefaultSettings)
	if err != nil {
		t.Fatal(err)
	}
	name := layout.Name(layout.Keys, foreign.slot)
	x.files[name] = storetest.Files(t, other)[name]
	for _, lost := range []bool{false, true} {
		mem := storetest.MemOf(t, x.files)
		if lost {
			if err := mem.Delete(ctx, layout.Config); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Open(ctx, mem, []byte("other")); err == nil || errors.Is(err, crypt.ErrWrongPassword) || errors.Is(err, ErrNoRepository) {
			t.Errorf("config lost %t: the foreign key's password: %v", lost, err)
		}
		r := reopen(t, mem)
		wantLoads(t, r, x.chunks)
		report, err := r.Check(ctx, CheckOptions{}, nil)
		if err != nil || len(report.Notes) != 1 || !strings.HasPrefix(report.Notes[0], name) || lost != (len(report.Damage) > 0) || report.Slots != 2 {
			t.Errorf("config lost %t: %v, %+v", lost, err, report)
		}
		if _, err := r.RepairConfig(ctx); err != nil {
			t.Error(err)
		}
		if _, err := r.RemoveSlot(ctx, foreign.slot.String()); err != nil {
			t.Error(err)
		}
		x.wantWhole(t, mem)
	}
}
