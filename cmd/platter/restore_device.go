package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"platter/pack"
	"platter/repo"
	"platter/snapshot/restore"
)

const aboutDeviceTarget = "On Linux TARGET may be a block device: a disk, or a partition. It is refused where it is mounted, swapped on, " +
	"held by another device, or open for writing in a program, where the repository or the running system lies on it, and where it is too small or read-only. " +
	"--serial says which disk it has to be; else its serial number is asked for, unless --yes is given. " +
	"It is held open from then on, so that nothing is written to another one. What is there is compared, and only what differs is " +
	"written; then all of it is flushed and read back. What is behind the disk stays as it is."

// deviceOptions are about a TARGET that is a device.
type deviceOptions struct {
	serial                       string
	yes                          bool
	growGPT, shrinkGPT, wipeRest bool
}

func deviceFlags(o *deviceOptions) []cli.Flag {
	const category = "If TARGET is a device:"
	return []cli.Flag{
		&cli.StringFlag{Name: "serial", Usage: "it must be the one with this serial `NUMBER`, which is then not asked for", Destination: &o.serial, Category: category},
		&cli.BoolFlag{Name: "yes", Usage: "ask nothing", Destination: &o.yes, Category: category, DisableDefaultText: true},
		&cli.BoolFlag{Name: "grow-gpt", Usage: "where it is larger than the disk, move the second partition table to its end", Destination: &o.growGPT, Category: category, DisableDefaultText: true},
		&cli.BoolFlag{Name: "shrink-gpt", Usage: "where it is smaller, leave out what no partition holds, and move the second partition table to its end", Destination: &o.shrinkGPT, Category: category, DisableDefaultText: true},
		&cli.BoolFlag{Name: "wipe-rest", Usage: "write zeros to what is behind the disk", Destination: &o.wipeRest, Category: category, DisableDefaultText: true},
	}
}

// needed is a flag that was given and means nothing without a device; "" for none.
func (o deviceOptions) needed() string {
	switch {
	case o.serial != "":
		return "--serial"
	case o.growGPT:
		return "--grow-gpt"
	case o.shrinkGPT:
		return "--shrink-gpt"
	case o.wipeRest:
		return "--wipe-rest"
	}
	return ""
}

// restoreToDevice restores to a device. It is opened first, and closed last: nobody should have to type a password to learn
// that it is the wrong one, and none can take its place.
func restoreToDevice(ctx context.Context, env *env, opts restoreOptions, spec, target string) error {
	d, err := restore.OpenDevice(target, restore.DeviceOptions{
		System: env.devices, Serial: opts.device.serial, ReadOnly: opts.plan, ForceInUse: opts.forceInUse,
		Keep: map[string]string{"/": "the running system", opts.repo: "the repository"},
	})
	if err != nil {
		return err
	}
	defer d.Close()
	r, all, err := openSnapshots(ctx, env, opts.common)
	if err != nil {
		return err
	}
	defer env.warnHealed(opts.common, r)
	s, part, err := env.findPart(ctx, opts.common, r, all, spec)
	if err != nil {
		return err
	}
	fit, err := restore.FitOnto(ctx, r, s, part, d, restore.FitOptions{GrowGPT: opts.device.growGPT, ShrinkGPT: opts.device.shrinkGPT})
	if err != nil {
		return err
	}
	opts.inPlace, opts.verify = true, !opts.noVerify
	return r.Reading(ctx, repo.Restoring, []pack.FileID{s.ID}, func(ctx context.Context) error {
		return fillDevice(ctx, env, opts, r, restoring{s, fit.Part, target, d, fit})
	})
}

// fillDevice makes a plan, or asks and restores.
func fillDevice(ctx context.Context, env *env, opts restoreOptions, r *repo.Repo, what restoring) error {
	o := restore.Options{InPlace: true, Verify: opts.verify, WipeRest: opts.device.wipeRest}
	for _, line := range what.fit.Warnings {
		env.warn(opts.common, "%s: %s", what.target, line)
	}
	if !opts.plan {
		if err := confirmDevice(ctx, env, opts, what); err != nil {
			return err
		}
	}
	var p repo.Progress
	stop := env.progress(opts.common, what.snapshot.Name, &p)
	defer stop()
	if opts.plan {
		plan, err := restore.PlanDevice(ctx, r, what.snapshot, what.fit, what.device, o, &p)
		stop()
		if err != nil {
			return err
		}
		return printRestorePlan(env, opts, what, plan)
	}
	start := env.now()
	done, err := restore.ToDevice(ctx, r, what.snapshot, what.fit, what.device, o, &p)
	stop()
	if err != nil {
		return err
	}
	if err := printRestored(env, opts, what, done, env.now().Sub(start)); err != nil {
		return err
	}
	return warnOfLost(ctx, env, opts.common, r, what.snapshot, what.part)
}

// confirmDevice has somebody type which device it is, unless the flags say so.
func confirmDevice(ctx context.Context, env *env, opts restoreOptions, what restoring) error {
	d := what.device
	if opts.device.yes || opts.device.serial != "" {
		return nil
	}
	word, thing := d.Identity.Serial, "serial number"
	if word == "" {
		word, thing = d.Name, "name"
	}
	typed, err := env.confirm(ctx, deviceQuestion(what, thing, word))
	switch {
	case errors.Is(err, errNoTerminal) && d.Identity.Serial != "":
		return usagef("%s would be overwritten (%s), and there is no terminal to ask at: give --serial %q, or --yes, where that is the one you mean",
			what.target, describeDevice(d), word)
	case errors.Is(err, errNoTerminal):
		return usagef("%s would be overwritten (%s), and there is no terminal to ask at: give --yes where that is the one you mean", what.target, describeDevice(d))
	case err != nil:
		return err
	}
	if answer := strings.TrimSpace(string(typed)); answer != word && !d.Identity.HasSerial(answer) {
		return fmt.Errorf("that is not its %s; nothing was written", thing)
	}
	return nil
}

// describeDevice words what is known of a device.
func describeDevice(d *restore.Device) string {
	id := d.Identity
	words := []string{id.Model}
	if id.Model == "" {
		words[0] = "an unnamed model"
	}
	if id.Serial == "" {
		return words[0] + ", without a serial number"
	}
	return words[0] + ", serial number " + id.Serial
}
