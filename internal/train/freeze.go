package train

import (
	"fmt"
	"strings"

	"github.com/mltrain/mltrain/internal/nn"
)

// Freeze says which parameters are not trained, by patterns of their names (see nn.Matcher): those that match Patterns, but
// none that match Except. Except alone freezes all others.
type Freeze struct{ Patterns, Except []string }

// matcher returns the rule as a function, nil if nothing is frozen.
func (f Freeze) matcher() func(name string) bool {
	if len(f.Patterns)+len(f.Except) == 0 {
		return nil
	}
	frozen, free := nn.Matcher(f.Patterns...), nn.Matcher(f.Except...)
	return func(name string) bool {
		return (len(f.Patterns) == 0 || frozen(name)) && !free(name)
	}
}

// check faults patterns that match no parameter: they would be without effect.
func (f Freeze) check(weights []*nn.Weight) error {
	var faults []string
	for _, list := range []struct {
		key      string
		patterns []string
	}{{"freeze", f.Patterns}, {"unfreeze", f.Except}} {
		for _, p := range list.patterns {
			match, found := nn.Matcher(p), false
			for _, w := range weights {
				found = found || match(w.Name)
			}
			if !found {
				faults = append(faults, fmt.Sprintf("%s: %q matches no parameter", list.key, p))
			}
		}
	}
	if len(faults) == 0 {
		return nil
	}
	var names []string
	for _, w := range weights[:min(6, len(weights))] {
		names = append(names, w.Name)
	}
	return fmt.Errorf("%s; the parameters are %s, … (%d)", strings.Join(faults, "; "), strings.Join(names, ", "), len(weights))
}
