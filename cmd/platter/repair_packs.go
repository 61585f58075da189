package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"platter/repo"
	"platter/snapshot/heal"
)

type repairPacksOptions struct {
	common
	from  fromOptions
	known bool
}

func repairPacksCommand(env *env) *cli.Command {
	var opts repairPacksOptions
	return &cli.Command{
		Name:  "packs",
		Usage: "mend or replace packs that are missing or damaged",
		Description: "Reads every pack and compares it with its name. A pack that is missing or damaged is replaced whole, from its parity file or from a copy of the repository. " +
			"If there is none, its chunks are stored again in other packs: those that can still be read, those of a copy, and those found on disks, which are cut as a backup cuts them. " +
			"Everything is verified by its name or ID before it is stored. No file is changed in place, and --from and --from-disk are only read.\n\n" +
			"A disk that was written to since the backup still provides the data that is the same. " +
			"A repository that is not a copy of this one is searched version by version, like disks.\n\n" +
			"Data that is still lost is listed as 'check' lists it, and the exit code is 3; continue with 'repair snapshots'. " +
			"Packs that stay damaged are recorded, so that no backup builds on them.",
		Flags: append(append([]cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only print what could be mended", Destination: &opts.dryRun, DisableDefaultText: true},
			&cli.BoolFlag{Name: "known", Usage: "read only packs that are missing, truncated or recorded as damaged: fast, but finds no new damage", Destination: &opts.known, DisableDefaultText: true},
		}, fromFlags(&opts.from)...), repoFlags(&opts.common)...),
		Action: action(env, &opts, runRepairPacks),
	}
}

func runRepairPacks(ctx context.Context, env *env, opts repairPacksOptions, args []string) (err error) {
	if err := wantArgs(args); err != nil {
		return err
	}
	var from rescue
	defer func() { err = errors.Join(err, from.close()) }()
	if err := from.openDisks(opts.from.disks.Value()); err != nil { // before a password is asked for
		return err
	}
	opts.noCache = true // the repository itself is repaired
	s, err := openStore(env, opts.common)
	if err != nil {
		return err
	}
	if err := repo.Find(ctx, s); err != nil {
		return openError(opts.common, err)
	}
	password, err := env.password(ctx, opts.password)
	if err != nil {
		return err
	}
	r, err := openWith(ctx, env, opts.common, s, password)
	if err != nil {
		return err
	}
	if err := from.openRepos(ctx, env, opts, r, password); err != nil {
		return err
	}
	o := heal.MendOptions{ReadAll: !opts.known, Copies: from.copies, Disks: from.disks, DryRun: opts.dryRun}
	done, err := withProgress(env, opts.common, "repair packs", func(p *repo.Progress) (*heal.Mended, error) {
		return heal.RepairPacks(ctx, r, o, p)
	})
	if err != nil {
		return err
	}
	return printMended(env, opts, done)
}

// mendedJSON is what repair packs --json prints.
type mendedJSON struct {
	Packs   []mendedPackJSON `json:"packs"`
	Found   []foundJSON      `json:"found"`
	Lost    []lossJSON       `json:"lost"`    // in a dry run: what is lost now
	Lacking int64            `json:"lacking"` // chunks that were not found; snapshots may not need all of them
	DryRun  bool             `json:"dry_run"`
}

type mendedPackJSON struct {
	Pack   string `json:"pack"`
	Damage string `json:"damage"`
	Mended string `json:"mended,omitempty"` // from what
}

type foundJSON struct {
	Source  string `json:"source"`
	Wanted  int64  `json:"wanted"`  // chunks
	Found   int64  `json:"found"`   // of the wanted chunks
	Skipped int64  `json:"skipped"` // bytes of the source that could not be read
	Stopped string `json:"stopped,omitempty"`
}

func printMended(env *env, opts repairPacksOptions, m *heal.Mended) error {
	out := mendedJSON{Packs: []mendedPackJSON{}, Found: []foundJSON{}, Lost: []lossJSON{}, Lacking: m.Lacking, DryRun: opts.dryRun}
	still := 0
	for _, b := range m.Packs {
		out.Packs = append(out.Packs, mendedPackJSON{b.Name(), b.Why.Error(), b.Mended})
		if b.Mended == "" {
			still++
		}
	}
	for _, f := range m.Found {
		line := foundJSON{f.Name, f.Wanted, f.Chunks, f.Skipped, ""}
		if f.Stopped != nil {
			line.Stopped = f.Stopped.Error()
		}
		out.Found = append(out.Found, line)
	}
	for _, l := range m.Losses {
		out.Lost = append(out.Lost, lossOf(l))
	}
	for _, err := range m.Unreadable {
		env.warn(opts.common, "a snapshot cannot be read, so it is unknown which chunks it needs: %v", err)
	}
	if opts.json {
		if err := env.printJSON(out); err != nil {
			return err
		}
	} else {
		printMendedText(env, out, still)
	}
	switch {
	case opts.dryRun && out.Lacking > 0:
		return fmt.Errorf("%w: %s would still be lost", errIncomplete, count(int(out.Lacking), "chunk"))
	case !opts.dryRun && len(out.Lost) > 0:
		return fmt.Errorf("%w: %s not whole", errIncomplete, isAre(len(out.Lost), "snapshot"))
	case len(m.Unreadable) > 0:
		return unreadable(m.Unreadable)
	}
	return nil
}

func printMendedText(env *env, out mendedJSON, still int) {
	say := func(format string, args ...any) { fmt.Fprintln(env.stdout, printable(fmt.Sprintf(format, args...))) }
	for _, b := range out.Packs {
		if b.Mended != "" {
			say("mended: %s; from %s", b.Damage, b.Mended)
		} else {
			say("damaged: %s; it cannot be mended", b.Damage)
		}
	}
	for _, f := range out.Found {
		say("found: %d of %s in %s", f.Found, count(int(f.Wanted), "lost chunk"), f.Source)
		if f.Skipped > 0 {
			say("  %s of it could not be read", size(f.Skipped))
		}
		if f.Stopped != "" {
			say("  the search in it ended early: %s", f.Stopped)
		}
	}
	for _, l := range out.Lost {
		printLoss(env, l)
	}
	switch {
	case len(out.Packs)+len(out.Lost) == 0:
		say("no damage found")
	case out.DryRun:
		say("nothing was changed: this was a dry run, and what is listed as lost is lost at the moment")
	case len(out.Lost) > 0:
		say("advice: 'platter repair snapshots' saves what is left of these snapshots")
	case still > 0:
		say("all snapshots are whole; %s no longer needed, and 'platter prune' deletes them", isAre(still, "damaged pack"))
	default:
		say("all snapshots are whole")
	}
}
