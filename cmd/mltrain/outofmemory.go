package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mltrain/mltrain/internal/plan"
	"github.com/mltrain/mltrain/internal/tensor"
	"github.com/mltrain/mltrain/internal/train"
)

// roomMeter is a device that knows the memory that a run can have of it.
type roomMeter interface{ Room() int64 }

// roomOf returns the memory that a run on a device can have, 0 if that is not known: the machine's, where the device has none of its own.
func roomOf(app *App, device tensor.Device) int64 {
	if m, ok := device.(roomMeter); ok {
		return m.Room()
	}
	return app.memory()
}

// withAdvice adds to the error of a device that has too little memory what the run needs, and the smallest change of the config
// with which it would fit.
func withAdvice(ctx context.Context, app *App, job train.Job, d *train.Data, device tensor.Device, err error) error {
	room := roomOf(app, device)
	f, planErr := job.Forecast()
	if planErr != nil || room == 0 {
		return err
	}
	if f.Peak <= room {
		return fmt.Errorf("%w\nthe run is planned to take %s, and %s has %s: a little more is needed, by kernels and other programs", err, plan.FormatBytes(f.Peak), device.Name(), plan.FormatBytes(room))
	}
	v := &variants{ctx: ctx, app: app, job: job, data: d}
	a := train.Advise(job.Config, f.Peak, room, v.total)
	if ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w\nthe run needs %s (%s), and %s has %s for it; %s", err, plan.FormatBytes(f.Peak), largest(f.Bytes, 4), device.Name(), plan.FormatBytes(room), smallest(a))
}

// largest lists the n purposes that take most memory.
func largest(m map[tensor.Use]int64, n int) string {
	uses := slices.SortedFunc(maps.Keys(m), func(a, b tensor.Use) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
	var out []string
	for _, u := range uses[:min(n, len(uses))] {
		out = append(out, fmt.Sprintf("%s %s", u, plan.FormatBytes(m[u])))
	}
	return strings.Join(out, ", ")
}

// smallest says how a run can be made to fit.
func smallest(a train.Advice) string {
	if !a.Fits {
		return "no change that mltrain knows of makes it fit: take a smaller model, or a device with more memory"
	}
	if len(a.Together) > 0 {
		var all []string
		for _, c := range a.Together {
			all = append(all, c.Settings...)
		}
		return fmt.Sprintf("it fits with these together: %s (%s)", strings.Join(all, ", "), plan.FormatBytes(a.Total))
	}
	for _, c := range a.Changes {
		if c.Fits {
			return fmt.Sprintf("it fits with %s (%s less; %s)", strings.Join(c.Settings, ", "), plan.FormatBytes(c.Saves), c.Effect)
		}
	}
	return "see 'mltrain plan'"
}
