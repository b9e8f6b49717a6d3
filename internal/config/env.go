package config

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/viper"
)

// EnvPrefix begins the name of every environment variable that sets a key.
const EnvPrefix = "MLTRAIN"

// envEntries reads the environment: MLTRAIN_LEARNING_RATE sets learning_rate.
// Aliases count too. A variable that looks like a misspelt key is a fault;
// other variables with the prefix (such as MLTRAIN_LOG) belong to others.
func (l *loader) envEntries() []entry {
	names := l.table.names()
	env := viper.NewWithOptions(viper.KeyDelimiter("::"))
	env.SetEnvPrefix(EnvPrefix)
	var out []entry
	for _, name := range names {
		variable := EnvVariable(name)
		// BindEnv fails only without a name.
		if err := env.BindEnv(name, variable); err != nil || !env.IsSet(name) {
			continue
		}
		e := entry{name: name, source: "env " + variable, shell: true}
		text := env.GetString(name)
		var err error
		if e.node, err = shellNode(text); err != nil {
			l.faults.add(e.source, name, "cannot read the value %q: %v", text, err)
			continue
		}
		out = append(out, e)
	}
	for _, pair := range os.Environ() {
		variable, _, _ := strings.Cut(pair, "=")
		name, ours := strings.CutPrefix(variable, EnvPrefix+"_")
		name = strings.ToLower(name)
		if !ours || slices.Contains(names, name) {
			continue
		}
		if near := Closest(name, names); near != "" && len(name) > 4 {
			l.faults.add("env "+variable, "", "unknown key (did you mean %s?)", EnvVariable(near))
		}
	}
	return out
}

// EnvVariable returns the name of the environment variable that sets a key.
func EnvVariable(key string) string { return EnvPrefix + "_" + strings.ToUpper(key) }
