package main

import (
	"fmt"
	"strings"
	"time"

	"platter/snapshot"
)

// forgetJSON is what forget --json prints.
type forgetJSON struct {
	retention *snapshot.Retention
	named     bool // not by a policy

	Disks      []forgetDiskJSON `json:"disks"`
	Unreadable []string         `json:"unreadable"` // that were named, and are forgotten
	Kept       int              `json:"kept"`       // of the versions of these disks
	Removed    int              `json:"removed"`    // or would be, in a dry run
	DryRun     bool             `json:"dry_run"`
	Prune      any              `json:"prune,omitempty"` // as prune --json prints it
}

// forgetDiskJSON is the decision on the versions of one disk, oldest first.
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
	Reasons []string  `json:"reasons,omitempty"` // why it is kept
}

// filled is the document with all fields set.
func (f forgetJSON) filled() forgetJSON {
	f.Disks, f.Unreadable = []forgetDiskJSON{}, []string{}
	for _, v := range f.retention.Disks {
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
	for _, u := range f.retention.Unreadable {
		f.Unreadable = append(f.Unreadable, u.ID.String())
	}
	f.Removed = len(f.retention.IDs())
	return f
}

// printForget prints what is kept of each disk, why, and what is forgotten. If versions were named, it lists only those.
func printForget(env *env, f forgetJSON) {
	say := func(format string, args ...any) { fmt.Fprintln(env.stdout, printable(fmt.Sprintf(format, args...))) }
	total := len(f.retention.Unreadable)
	for _, v := range f.retention.Disks {
		total += len(v.Decisions)
		going := len(v.Going())
		say("%s: keep %d, forget %d", v, len(v.Decisions)-going, going)
		versionTable(v, f.named).print(env)
		fmt.Fprintln(env.stdout)
	}
	for _, u := range f.retention.Unreadable {
		say("forget %s, which cannot be read", u.ID)
		if !f.DryRun {
			say("  its file is kept aside until a full check: see 'platter repair snapshots'")
		}
	}
	if f.DryRun {
		say("would forget %d of %s; nothing was forgotten: this was a dry run", len(f.retention.IDs()), count(total, "version"))
		return
	}
	say("forgot %d of %s", f.Removed, count(total, "version"))
}

// versionTable lists the versions of a disk, or only those that are forgotten.
func versionTable(v snapshot.Versions, onlyGoing bool) textTable {
	columns := []string{"", "ID", "Time", "Tags", "Reason to keep"}
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
