package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/mltrain/mltrain/internal/plan"
	"github.com/mltrain/mltrain/internal/tensor"
	"github.com/mltrain/mltrain/internal/train"
)

// roomMeter is a device that knows the memory that a run can have of it.
type roomMeter interface{ Room() int64 }

// withAdvice adds to the error of a device that has too little memory what the run needs, and the smallest change of the config
// with which it would fit.
func withAdvice(ctx context.Context, app *App, job train.Job, d *train.Data, device tensor.Device, err error) error {
	m, ok := device.(roomMeter)
	if !ok {
		return err
	}
	f, planErr := job.Forecast()
	if planErr != nil {
		return err
	}
	room := m.Room()
	if f.Peak <= room {
		return fmt.Errorf("%w\nthe run is planned to take %s, and %s has %s: other programs may have taken memory meanwhile", err, plan.FormatBytes(f.Peak), device.Name(), plan.FormatBytes(room))
	}
	v := &variants{ctx: ctx, app: app, job: job, data: d}
	a := train.Advise(job.Config, f.Peak, room, v.total)
	if ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w\nthe run needs %s, and %s has %s for it; %s", err, plan.FormatBytes(f.Peak), device.Name(), plan.FormatBytes(room), smallest(a))
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
