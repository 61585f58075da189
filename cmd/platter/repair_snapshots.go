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
		Usage: "save what is left of versions that are not whole",
		Description: "Lists every version that has lost data, with the byte ranges, and exits with 3 if there are any. Without flags it changes nothing. " +
			"Run 'repair packs' first, which may recover lost data. Without --read-data, it knows only of packs that are missing, truncated or recorded as damaged.\n\n" +
			"--write stores a second version beside each of them, of the same disk and time, with the tag 'repaired' and a note. " +
			"Lost ranges are marked as lost and read as zeros in it; 'show' lists them, and 'restore' warns and exits with 3.\n\n" +
			"--forget then removes the versions that are not whole, and snapshot files that cannot be read at all. " +
			"Their files are kept aside in the repository, and 'prune' spares what they still need, until a full 'check --read-data' finds all other versions whole. " +
			"If the fault was in the connection to the NAS, and not in the data, --put-back puts a version back, under a new ID.",
		Flags: append([]cli.Flag{
			boolean("write", "store a version with what is left of each", &opts.write),
			boolean("forget", "with --write: remove the versions that are not whole, and keep their files aside", &opts.forget),
			boolean("read-data", "read every pack first, not only those known to be damaged", &opts.readData),
			&cli.StringSliceFlag{Name: "put-back", Usage: "only put back the version with this `ID` that was kept aside, or 'all'; may be repeated", Destination: &opts.putBack},
		}, repoFlags(&opts.common)...),
		Action: action(env, &opts, runRepairSnapshots),
	}
}

func runRepairSnapshots(ctx context.Context, env *env, opts repairSnapshotsOptions, args []string) error {
	if err := wantArgs(args); err != nil {
		return err
	}
	if opts.forget && !opts.write {
		return usagef("--forget needs --write, which first stores what is left of these versions")
	}
	which := opts.putBack.Value()
	if len(which) > 0 && (opts.readData || opts.write) {
		return usagef("--put-back cannot be used with --read-data or --write")
	}
	opts.noCache = true // the repository itself is repaired
	r, err := openRepo(ctx, env, opts.common)
	if err != nil {
		return err
	}
	if len(which) > 0 {
		return putBack(ctx, env, opts, r, which)
	}
	o := heal.RepairOptions{ReadAll: opts.readData, Write: opts.write, Forget: opts.forget, Platter: buildVersion().Version}
	done, err := withProgress(env, opts.common, "repair snapshots", func(p *repo.Progress) (*heal.Repairs, error) {
		return heal.RepairSnapshots(ctx, r, o, p)
	})
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
	Repaired  string `json:"repaired,omitempty"` // the ID of the version that replaces it
	Forgotten bool   `json:"forgotten"`
}

type unreadableJSON struct {
	ID        string `json:"id"`
	Error     string `json:"error"`
	Forgotten bool   `json:"forgotten"`
}

func printRepairs(env *env, opts repairSnapshotsOptions, done *heal.Repairs, aside []asideJSON) error {
	out := repairsJSON{Snapshots: []repairJSON{}, Unreadable: []unreadableJSON{}, Aside: aside}
	open := 0 // were left as they are
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
			say("  what is left is stored as %s", q.Repaired[:8])
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
		say("nothing was changed: --write stores what is left of them")
	case !opts.forget:
		say("the versions that are not whole are still listed; --forget removes them")
	}
}
