package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"platter/repo"
	"platter/snapshot/heal"
)

type repairSnapshotsOptions struct {
	common
	readData, write, forget bool
	putBack                 cli.StringSlice
}

func repairSnapshotsCommand(env *env) *cli.Command {
	var opts repairSnapshotsOptions
	boolean := func(name, usage string, to *bool) cli.Flag {
		return &cli.BoolFlag{Name: name, Usage: usage, Destination: to, DisableDefaultText: true}
	}
	return &cli.Command{
		Name:  "snapshots",
		Usage: "keep what is left of versions that are not whole",
		Description: "Lists every version of which something is lost, with the byte ranges. By itself it changes nothing, and exits with 3 where " +
			"it lists anything. First run 'repair packs', which may bring lost data back; this command goes by what is missing, cut off, " +
			"or was noted as damaged then.\n\n" +
			"With --write each of them gets a version beside it that is whole: of the same disk and time, with the tag 'repaired' and a note. " +
			"What was lost is marked as lost in it, and reads as zeros; 'show' lists it, and 'restore' warns and exits with 3. " +
			"With --forget too, the versions that are not whole are removed after that, and so are snapshot files in which nothing can be read. " +
			"Their files are kept aside in the repository, and 'prune' leaves what they still have, until a full 'check --read-data' finds all " +
			"other versions whole. --put-back gives one back, under a new id: where it was the way to the NAS that was bad and not the data.",
		Flags: append([]cli.Flag{
			boolean("read-data", "read every pack first, and not only those that are known to be damaged", &opts.readData),
			boolean("write", "make a version of what is left of each", &opts.write),
			boolean("forget", "set aside what is not whole; goes with --write", &opts.forget),
			&cli.StringSliceFlag{Name: "put-back", Usage: "only put back the version of this `ID` that was set aside, or 'all'; may be repeated", Destination: &opts.putBack},
		}, repoFlags(&opts.common)...),
		Action: action(env, &opts, runRepairSnapshots),
	}
}

func runRepairSnapshots(ctx context.Context, env *env, opts repairSnapshotsOptions, args []string) error {
	if err := wantArgs(args); err != nil {
		return err
	}
	if opts.forget && !opts.write {
		return usagef("--forget goes with --write: what is left of these versions is to be kept first")
	}
	which := opts.putBack.Value()
	if len(which) > 0 && (opts.readData || opts.write) {
		return usagef("--put-back goes alone")
	}
	opts.noCache = true // what is to be mended is the repository
	r, err := openRepo(ctx, env, opts.common)
	if err != nil {
		return err
	}
	if len(which) > 0 {
		return putBack(ctx, env, opts, r, which)
	}
	var p repo.Progress
	stop := env.progress(opts.common, "repair snapshots", &p)
	o := heal.RepairOptions{ReadAll: opts.readData, Write: opts.write, Forget: opts.forget, Platter: buildVersion().Version}
	done, err := heal.RepairSnapshots(ctx, r, o, &p)
	stop()
	if err != nil {
		return err
	}
	aside, err := listAside(ctx, r)
	if err != nil {
		return err
	}
	return printRepairs(env, opts, done, aside)
}

// repairsJSON is what repair snapshots --json prints.
type repairsJSON struct {
	Snapshots  []repairJSON     `json:"snapshots"`
	Unreadable []unreadableJSON `json:"unreadable"`
	Aside      []asideJSON      `json:"aside"` // that were removed, now or before, and are kept aside
}

type repairJSON struct {
	lossJSON
	Repaired  string `json:"repaired,omitempty"` // the id of what takes its place
	Forgotten bool   `json:"forgotten"`
}

type unreadableJSON struct {
	ID        string `json:"id"`
	Error     string `json:"error"`
	Forgotten bool   `json:"forgotten"`
}

func printRepairs(env *env, opts repairSnapshotsOptions, done *heal.Repairs, aside []asideJSON) error {
	out := repairsJSON{Snapshots: []repairJSON{}, Unreadable: []unreadableJSON{}, Aside: aside}
	open := 0 // are as they were found
	for _, q := range done.Snapshots {
		line := repairJSON{lossOf(q.Loss), "", q.Forgotten}
		if q.New != nil {
			line.Repaired = q.New.ID.String()
		} else {
			open++
		}
		out.Snapshots = append(out.Snapshots, line)
	}
	for _, u := range done.Unreadable {
		out.Unreadable = append(out.Unreadable, unreadableJSON{u.ID.String(), u.Error(), u.Forgotten})
		if !u.Forgotten {
			open++
		}
	}
	if opts.json {
		if err := env.printJSON(out); err != nil {
			return err
		}
	} else {
		printRepairsText(env, opts, out)
	}
	if open > 0 {
		return fmt.Errorf("%w: %s not whole", errIncomplete, isAre(open, "snapshot"))
	}
	return nil
}

func printRepairsText(env *env, opts repairSnapshotsOptions, out repairsJSON) {
	say := func(format string, args ...any) { fmt.Fprintln(env.stdout, printable(fmt.Sprintf(format, args...))) }
	for _, q := range out.Snapshots {
		printLoss(env, q.lossJSON)
		if q.Repaired != "" {
			say("  what is left is kept as %s", q.Repaired[:8])
		}
		if q.Forgotten {
			say("  forgotten")
		}
	}
	for _, u := range out.Unreadable {
		say("unreadable: %s", u.Error)
		if u.Forgotten {
			say("  forgotten")
		}
	}
	for _, a := range out.Aside {
		say("kept aside: %s", a)
	}
	switch n := len(out.Snapshots) + len(out.Unreadable); {
	case n == 0:
		say("all snapshots are whole")
	case !opts.write:
		say("nothing was changed: --write keeps what is left of them")
	case !opts.forget:
		say("what is not whole is still there; --forget removes it")
	}
}
