package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// StateVersion is the layout of training_state/ that this program writes and reads.
const StateVersion = 1

// Where the training state lies within a checkpoint.
const (
	stateDir         = "training_state"
	stateFile        = "state.json"
	stateTensorsFile = "tensors.safetensors"
	manifestFile     = "manifest.json"
)

// ErrNoState: the directory holds no training state (a model, but nothing that a run could resume from).
var ErrNoState = errors.New("no training state")

// State is what a run needs, besides tensors, to go on exactly where it was. The raw messages belong to the packages that
// make them; JSON keeps their text, numbers of any size included.
type State struct {
	Version           int                        `json:"version"` // set by SaveState
	GlobalStep        int64                      `json:"global_step"`
	MicroStep         int64                      `json:"micro_step"` // micro-batches since the start of the run
	Epoch             float64                    `json:"epoch"`
	TokensSeen        int64                      `json:"tokens_seen"`         // all tokens of the rows, without padding
	TrainedTokensSeen int64                      `json:"trained_tokens_seen"` // those that the loss counted
	DataState         json.RawMessage            `json:"data_state,omitempty"`
	RNG               json.RawMessage            `json:"rng,omitempty"`
	Scheduler         json.RawMessage            `json:"scheduler,omitempty"`
	Extra             map[string]json.RawMessage `json:"extra,omitempty"`
	InstructionSet    string                     `json:"instruction_set"` // a run is exact only on the one it began on
	ConfigHash        string                     `json:"config_hash"`
}

// SaveState writes training_state/ into the checkpoint directory dir: the state, its tensors (optimiser moments, master
// weights; written one after another), and last the manifest with the size and SHA-256 of every file that dir holds by
// then, the model's included. So it must be called after everything else was written; SaveCheckpoint does so.
func SaveState(dir string, state *State, tensors []Tensor) error {
	sub := filepath.Join(dir, stateDir)
	if err := os.MkdirAll(sub, 0o777); err != nil {
		return fmt.Errorf("save training state: %w", hint(err))
	}
	s := *state
	s.Version = StateVersion
	text, err := encodeJSON(&s)
	if err != nil {
		return fmt.Errorf("save training state: %w", err)
	}
	if err := WriteFile(filepath.Join(sub, stateTensorsFile), tensors, nil); err != nil {
		return fmt.Errorf("save training state: %w", err)
	}
	if err := WriteAtomic(filepath.Join(sub, stateFile), writeAll(text)); err != nil {
		return fmt.Errorf("save training state: %w", err)
	}
	return writeManifest(dir)
}

// LoadState reads what SaveState wrote. The reader gives the state's tensors and is the caller's to close. It does not
// compare checksums: Verify does, and Latest returns only checkpoints that passed. The error wraps ErrNoState when dir has
// no training_state, ErrTorn when it cannot be read.
func LoadState(dir string) (*State, *Reader, error) {
	path := filepath.Join(dir, stateDir, stateFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, statErr := os.Stat(filepath.Join(dir, stateDir)); errors.Is(statErr, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("%s: %w", dir, ErrNoState)
		}
		return nil, nil, fmt.Errorf("%s: %w: %s/%s is missing", dir, ErrTorn, stateDir, stateFile)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("load training state: %w", err)
	}
	var state State
	if err := json.Unmarshal(text, &state); err != nil {
		return nil, nil, fmt.Errorf("%s: %w: %v", path, ErrTorn, err)
	}
	if err := checkVersion(path, state.Version); err != nil {
		return nil, nil, err
	}
	r, err := OpenFile(filepath.Join(dir, stateDir, stateTensorsFile))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w: %w", dir, ErrTorn, err)
	}
	return &state, r, nil
}

// checkVersion refuses a layout that this program does not know.
func checkVersion(path string, version int) error {
	if version == StateVersion {
		return nil
	}
	if version > StateVersion {
		return fmt.Errorf("%s: training state version %d was written by a newer mltrain; this one reads version %d", path, version, StateVersion)
	}
	return fmt.Errorf("%s: %w: training state version %d does not exist", path, ErrTorn, version)
}
