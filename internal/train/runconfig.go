package train

import (
	"io"
	"path/filepath"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/config"
)

// RunConfigFile is the resolved config of a run, each key with its origin.
const RunConfigFile = "run.yaml"

func writeRunConfig(c *config.Resolved) error {
	return checkpoint.WriteAtomic(filepath.Join(c.Config.OutputDir, RunConfigFile), func(w io.Writer) error {
		return c.WriteYAML(w, "mltrain "+c.Command+": the resolved config of this run")
	})
}
