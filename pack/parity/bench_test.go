package parity

import (
	"testing"

	"platter/pack"
)

func benchPack(size int) ([]byte, pack.FileID) {
	file := noise(1, size)
	return file, pack.Sum(file)
}

// BenchmarkEncode makes the parity of a pack of the usual size. The code's own tables are made before.
func BenchmarkEncode(b *testing.B) {
	file, name := benchPack(32 << 20)
	if _, err := Encode(file, name, DefaultShare); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encode(file, name, DefaultShare); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRepair mends a pack of the usual size that has lost as many sectors as parity can replace.
func BenchmarkRepair(b *testing.B) {
	file, name := benchPack(32 << 20)
	par, err := Encode(file, name, DefaultShare)
	if err != nil {
		b.Fatal(err)
	}
	g, err := Describe(par)
	if err != nil {
		b.Fatal(err)
	}
	for i := range g.Parity {
		clear(file[i*33*Sector:][:Sector])
	}
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Repair(file, g.Size, par, name); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCheck checks an intact pack and parity file.
func BenchmarkCheck(b *testing.B) {
	file, name := benchPack(32 << 20)
	par, err := Encode(file, name, DefaultShare)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if r, err := Check(file, par); err != nil || !r.Whole() {
			b.Fatal(r, err)
		}
	}
}
