package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"platter/snapshot"
	"platter/snapshot/restore"
)

// A restoring is a version or part of one, and the target to restore it to.
type restoring struct {
	snapshot *snapshot.Snapshot
	part     snapshot.Part
	target   string
	device   *restore.Device // nil for a file
	fit      *restore.Fit    // nil for a file
}

// title names what is restored, for display.
func (w restoring) title() string {
	if w.part.Name != "" {
		return w.snapshot.Name + ":" + w.part.Name
	}
	return w.snapshot.Name
}

// A restoreReport is what --json prints for a restore or a restore plan.
type restoreReport struct {
	Snapshot string        `json:"snapshot"`
	Part     string        `json:"part,omitempty"`
	Target   string        `json:"target"`
	Device   *deviceReport `json:"device,omitempty"`
	Size     int64         `json:"size"`
	InPlace  bool          `json:"in_place"`
	Plan     bool          `json:"plan,omitempty"`  // nothing was written
	Fetch    *int64        `json:"fetch,omitempty"` // only of a plan
	Right    int64         `json:"right"`
	Differed int64         `json:"differed"` // of chunks; only the bytes that differ are written
	Written  int64         `json:"written"`
	Zeroed   int64         `json:"zeroed"`
	Verified bool          `json:"verified"`
	Left     int64         `json:"left,omitempty"` // bytes of the device after the disk
	Moved    bool          `json:"moved_gpt,omitempty"`
	Warnings []string      `json:"warnings,omitempty"`
	Advice   []string      `json:"advice,omitempty"`
	Millis   int64         `json:"millis"` // in a plan, an estimate

	Room *roomJSON `json:"lacks_room,omitempty"` // only of a plan
}

// roomJSON says that a file system has too little room, in bytes. If it may compress, that is not certain.
type roomJSON struct {
	Needs   int64 `json:"needs"`
	Free    int64 `json:"free"`
	Certain bool  `json:"certain"`
}

type deviceReport struct {
	Name       string `json:"name"`
	Model      string `json:"model,omitempty"`
	Serial     string `json:"serial,omitempty"`
	WWN        string `json:"wwn,omitempty"`
	Size       int64  `json:"size"`
	SectorSize int64  `json:"sector_size"`
}

func newRestoreReport(opts restoreOptions, what restoring, took time.Duration) restoreReport {
	r := restoreReport{
		Snapshot: what.snapshot.ID.String(), Part: what.part.Name, Target: what.target, Size: what.part.Len, InPlace: opts.inPlace,
		Plan: opts.plan, Millis: took.Milliseconds(),
	}
	if d := what.device; d != nil {
		r.Device = &deviceReport{d.Name, d.Identity.Model, d.Identity.Serial, d.Identity.WWN, d.Size, d.Identity.SectorSize}
		r.Left, r.Moved, r.Warnings, r.Advice = what.fit.Left, what.fit.Moves(), what.fit.Warnings, what.fit.Advice
	}
	return r
}

func printRestored(env *env, opts restoreOptions, what restoring, done *restore.Result, took time.Duration) error {
	written, right, zeroed := done.Written.Load(), done.Right.Load(), done.Zeroed.Load()
	if opts.json {
		r := newRestoreReport(opts, what, took)
		r.Right, r.Differed, r.Written, r.Zeroed, r.Verified = right, done.Differed.Load(), written, zeroed, opts.verify
		return env.printJSON(r)
	}
	if opts.quiet {
		return nil
	}
	did := fmt.Sprintf("%s written", size(written))
	if opts.inPlace {
		did = fmt.Sprintf("%s already right, %s written, %s zeroed", size(right), size(written), size(zeroed))
	}
	proof := ""
	if opts.verify && what.device == nil {
		proof = "; read back and identical"
	}
	fmt.Fprintf(env.stdout, "restored %s of %s to %s: %s, %s, in %s%s\n",
		shortID(what.snapshot.ID), what.title(), what.target, size(what.part.Len), did, duration(took), proof)
	if what.device != nil {
		printDeviceDone(env, opts, what)
	}
	return nil
}

// printDeviceDone says whether the restored device was verified, and what is left to do.
func printDeviceDone(env *env, opts restoreOptions, what restoring) {
	if opts.verify {
		fmt.Fprintf(env.stdout, "verified: flushed, then read back from the device and not from a cache; every byte matches the snapshot\n")
	} else {
		fmt.Fprintf(env.stdout, "not verified: flushed to the device, but not read back (--no-verify)\n")
	}
	if what.fit.Moves() {
		fmt.Fprintf(env.stdout, "the second partition table is now at the end of the device\n")
	}
	printBehind(env, opts, what, "are as they were", "are zeros now")
}

// printBehind describes the device after the end of the disk, and gives advice.
func printBehind(env *env, opts restoreOptions, what restoring, stay, wiped string) {
	switch {
	case what.fit.Left > 0 && opts.device.wipeRest:
		fmt.Fprintf(env.stdout, "the %s after it %s\n", size(what.fit.Left), wiped)
	case what.fit.Left > 0:
		fmt.Fprintf(env.stdout, "the %s after it %s; --wipe-rest writes zeros there\n", size(what.fit.Left), stay)
	}
	for _, line := range what.fit.Advice {
		fmt.Fprintf(env.stdout, "note: %s\n", printable(line))
	}
}

func printRestorePlan(env *env, opts restoreOptions, what restoring, plan *restore.Plan) error {
	if opts.json {
		r := newRestoreReport(opts, what, plan.Time)
		r.Fetch, r.Right, r.Differed, r.Zeroed = &plan.Fetch, plan.Right, plan.Differ, plan.Zero
		if lacks := plan.Room; lacks != nil {
			r.Room = &roomJSON{lacks.Needs, lacks.Free, lacks.Certain}
		}
		return cmp.Or(env.printJSON(r), lacksRoom(what, plan))
	}
	line := func(key, format string, args ...any) {
		fmt.Fprintf(env.stdout, "%-9s %s\n", key, printable(fmt.Sprintf(format, args...)))
	}
	line("restore", "%s of %s to %s: %s", shortID(what.snapshot.ID), what.title(), what.target, size(what.part.Len))
	if d := what.device; d != nil {
		line("device", "%s of %s", size(d.Size), describeDevice(d))
		for i, text := range contentLines(d.Anatomy(), d.Size) {
			line(map[bool]string{true: "holds"}[i == 0], "%s", strings.ReplaceAll(text, "\n", " "))
		}
		if text := sectorText(what.snapshot, d); text != "" {
			line("warning", "%s", text)
		}
	}
	line("fetch", "%s from the repository, as it is stored there", size(plan.Fetch))
	line("write", "%s at most", size(plan.Differ))
	if opts.inPlace {
		line("zero", "%s that hold other data", size(plan.Zero))
		line("right", "%s already", size(plan.Right))
	}
	if lacks := plan.Room; lacks != nil {
		line("room", "%s needed, and the file system has %s left%s", size(lacks.Needs), size(lacks.Free), map[bool]string{false: "; that may be enough if it compresses"}[lacks.Certain])
	}
	line("time", "about %s", duration(plan.Time))
	if what.device != nil {
		if what.fit.Moves() {
			fmt.Fprintf(env.stdout, "the second partition table would be moved to the end of the device\n")
		}
		printBehind(env, opts, what, "would stay as they are", "would become zeros")
	}
	fmt.Fprintf(env.stdout, "nothing was written to %s\n", what.target)
	return lacksRoom(what, plan)
}

// lacksRoom is the error that the restore itself would return.
func lacksRoom(what restoring, plan *restore.Plan) error {
	if plan.Room == nil || !plan.Room.Certain {
		return nil
	}
	return fmt.Errorf("restore to %s: %w", what.target, plan.Room)
}
