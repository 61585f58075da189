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

const aboutDeviceTarget = "On Linux, TARGET may be a block device: a disk or a partition. " +
	"It is refused if it is mounted, used for swap, held by another device or open for writing in a program, if the repository or the running system is on it, " +
	"or if it is too small or read-only. --serial confirms which device it is; otherwise, and without --yes, platter asks for its serial number. " +
	"platter then holds the device open, so that no other one can take its place. It writes only what differs, flushes the device and reads everything back. " +
	"What is after the end of the disk stays as it is."

// deviceOptions are the options for a TARGET that is a device.
type deviceOptions struct {
	serial                       string
	yes                          bool
	growGPT, shrinkGPT, wipeRest bool
}

func deviceFlags(o *deviceOptions) []cli.Flag {
	const category = "If TARGET is a device:"
	return []cli.Flag{
		&cli.StringFlag{Name: "serial", Usage: "require this serial `NUMBER`, and do not ask for it", Destination: &o.serial, Category: category},
		&cli.BoolFlag{Name: "yes", Usage: "do not ask for confirmation", Destination: &o.yes, Category: category, DisableDefaultText: true},
		&cli.BoolFlag{Name: "grow-gpt", Usage: "if it is larger than the disk, move the second partition table to its end", Destination: &o.growGPT, Category: category, DisableDefaultText: true},
		&cli.BoolFlag{Name: "shrink-gpt", Usage: "if it is smaller, drop the end of the disk that no partition uses, and move the second partition table", Destination: &o.shrinkGPT, Category: category, DisableDefaultText: true},
		&cli.BoolFlag{Name: "wipe-rest", Usage: "write zeros after the end of the disk", Destination: &o.wipeRest, Category: category, DisableDefaultText: true},
	}
}

// needed is a given flag that means nothing without a device; "" for none.
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

// restoreToDevice restores to a device. It opens the device before it asks for a password, which is no use for the wrong device, and
// closes it last, so that no other device can take its place.
func restoreToDevice(ctx context.Context, env *env, opts restoreOptions, spec, target string) error {
	d, err := restore.OpenDevice(target, restore.DeviceOptions{
		System: env.devices, Serial: opts.device.serial, ReadOnly: opts.plan, ForceInUse: opts.forceInUse,
		Keep: map[string]string{"/": "the running system", opts.repo: "the repository"},
	})
	if err != nil {
		return err
	}
	defer d.Close()
	r, s, part, err := env.openVersion(ctx, opts.common, spec)
	if err != nil {
		return err
	}
	defer env.warnHealed(opts.common, r)
	fit, err := restore.FitOnto(ctx, r, s, part, d, restore.FitOptions{GrowGPT: opts.device.growGPT, ShrinkGPT: opts.device.shrinkGPT})
	if err != nil {
		return err
	}
	opts.inPlace, opts.verify = true, !opts.noVerify
	return r.Reading(ctx, repo.Restoring, []pack.FileID{s.ID}, func(ctx context.Context) error {
		return restoreToOpenDevice(ctx, env, opts, r, restoring{s, fit.Part, target, d, fit})
	})
}

// restoreToOpenDevice prints the restore plan, or asks for confirmation and restores.
func restoreToOpenDevice(ctx context.Context, env *env, opts restoreOptions, r *repo.Repo, what restoring) error {
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

// confirmDevice asks for the serial number or name of the device, unless flags confirm it.
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
		return usagef("%s would be overwritten (%s), and there is no terminal to ask on: if it is the right device, give --serial %q or --yes",
			what.target, describeDevice(d), word)
	case errors.Is(err, errNoTerminal):
		return usagef("%s would be overwritten (%s), and there is no terminal to ask on: if it is the right device, give --yes", what.target, describeDevice(d))
	case err != nil:
		return err
	}
	if answer := strings.TrimSpace(string(typed)); answer != word && !d.Identity.HasSerial(answer) {
		return fmt.Errorf("the answer is not its %s; nothing was written", thing)
	}
	return nil
}

// describeDevice formats model and serial number of a device.
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
