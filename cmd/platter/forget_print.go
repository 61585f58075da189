package main

import (
	"fmt"
	"strings"
	"time"

	"platter/snapshot"
)

// forgetJSON is what forget --json prints.
type forgetJSON struct {
	plan  *snapshot.Retention
	named bool // not by a policy

	Disks      []forgetDiskJSON `json:"disks"`
	Unreadable []string         `json:"unreadable"` // that were named, and go
	Kept       int              `json:"kept"`       // of the versions of these disks
	Removed    int              `json:"removed"`    // or would be, in a dry run
	DryRun     bool             `json:"dry_run"`
	Prune      any              `json:"prune,omitempty"` // as prune --json prints it
}

// forgetDiskJSON is what becomes of one disk's versions, oldest first.
type forgetDiskJSON struct {
	Name   string              `json:"name"`
	Host   string              `json:"host"`
	From   string              `json:"from,omitempty"` // of several disks with this name and host
	Keep   []forgetVersionJSON `json:"keep"`
	Remove []forgetVersionJSON `json:"remove"`
}

type forgetVersionJSON struct {
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Reasons []string  `json:"reasons,omitempty"` // why it stays
}

// filled is the document with everything that follows from the plan.
func (f forgetJSON) filled() forgetJSON {
	f.Disks, f.Unreadable = []forgetDiskJSON{}, []string{}
	for _, v := range f.plan.Disks {
		disk := forgetDiskJSON{v.Name, v.Host, v.From, []forgetVersionJSON{}, []forgetVersionJSON{}}
		for _, d := range v.Decisions {
			version := forgetVersionJSON{d.ID.String(), d.Time, d.Reasons}
			if d.Stays() {
				disk.Keep = append(disk.Keep, version)
			} else {
				disk.Remove = append(disk.Remove, version)
			}
		}
		f.Kept += len(disk.Keep)
		f.Disks = append(f.Disks, disk)
	}
	for _, u := range f.plan.Unreadable {
		f.Unreadable = append(f.Unreadable, u.ID.String())
	}
	f.Removed = len(f.plan.IDs())
	return f
}

// printForget tells of each disk what stays, why, and what goes. Where versions were named, those alone are of interest.
func printForget(env *env, f forgetJSON) {
	say := func(format string, args ...any) { fmt.Fprintln(env.stdout, printable(fmt.Sprintf(format, args...))) }
	total := len(f.plan.Unreadable)
	for _, v := range f.plan.Disks {
		total += len(v.Decisions)
		going := len(v.Going())
		say("%s: keep %d, forget %d", v, len(v.Decisions)-going, going)
		versionTable(v, f.named).print(env)
		fmt.Fprintln(env.stdout)
	}
	for _, u := range f.plan.Unreadable {
		say("forget %s, which cannot be read", u.ID)
		if !f.DryRun {
			say("  its file is kept aside, until a full check: see 'platter repair snapshots'")
		}
	}
	if f.DryRun {
		say("%d of %s would go; nothing was forgotten: this was a dry run", len(f.plan.IDs()), count(total, "version"))
		return
	}
	say("forgot %d of %s", f.Removed, count(total, "version"))
}

// versionTable lists the versions of a disk, or only those that go.
func versionTable(v snapshot.Versions, onlyGoing bool) textTable {
	columns := []string{"", "ID", "Time", "Tags", "Why it stays"}
	if onlyGoing {
		columns = columns[:4]
	}
	table := newTable(columns...)
	for _, d := range v.Decisions {
		row := []string{"forget", shortID(d.ID), localTime(d.Time), strings.Join(d.Tags, ",")}
		if d.Stays() {
			row[0] = "keep"
		}
		if !onlyGoing {
			table.row(append(row, strings.Join(d.Reasons, ", "))...)
		} else if !d.Stays() {
			table.row(row...)
		}
	}
	return table
}
