package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// ConfigFile is the name of a Hugging Face model's configuration.
const ConfigFile = "config.json"

// weightExtensions are the endings of files that hold weights or pickled Python, in any framework's format. A new
// checkpoint must not carry the old weights along.
var weightExtensions = []string{".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".onnx_data", ".gguf", ".ot", ".npz"}

// runFiles are what a run writes into its directory and a model does not need; they belong to the run that wrote them.
var runFiles = []string{"run.yaml", "metrics.jsonl", trainerStateFile, "training_args.bin", stateDir, "runs"}

// A Hugging Face shard index of any weight format: model.safetensors.index.json, pytorch_model.bin.index.json.
var indexName = regexp.MustCompile(`\.index\.json$`)

// ownWeights are the weight files that SaveModel writes, and so those of an earlier save that it must remove.
var ownWeights = regexp.MustCompile(`^model(-\d{5}-of-\d{5})?\.safetensors$|^model\.safetensors\.index\.json$`)

// SaveModel writes a Hugging Face checkpoint into the directory dst, which is made if need be: the tensors as
// model.safetensors, or as shards with an index above maxShardBytes (0: 5 GB); srcDir's config.json with the overrides (see
// RewriteJSON); and every other file of srcDir (tokenizer, chat template, generation config, README, subdirectories)
// unchanged, except weights in any format, hidden files and what a training run left there.
//
// All files are written and synced under temporary names first; then they are renamed, the weights last. On an error nothing
// in dst has changed, unless it came while renaming. dst may be srcDir.
func SaveModel(dst, srcDir string, tensors []Tensor, overrides map[string]any, maxShardBytes int64) (err error) {
	if err := os.MkdirAll(dst, 0o777); err != nil {
		return fmt.Errorf("save model: %w", hint(err))
	}
	stage, err := MakeTempDir(filepath.Join(dst, "model"))
	if err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()

	config, err := rewriteConfig(filepath.Join(srcDir, ConfigFile), overrides)
	if err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	copied, err := copySourceFiles(stage, srcDir, dst)
	if err != nil {
		return fmt.Errorf("save model: copy the files of %s: %w", srcDir, err)
	}
	if err := writeSynced(filepath.Join(stage, ConfigFile), 0o666, writeAll(config)); err != nil {
		return fmt.Errorf("save model: write %s: %w", ConfigFile, err)
	}
	weights, err := writeWeights(stage, tensors, maxShardBytes)
	if err != nil {
		return fmt.Errorf("save model to %s: %w", dst, err)
	}
	if err := publish(stage, dst, append(copied, ConfigFile), weights); err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	return nil
}

func rewriteConfig(path string, overrides map[string]any) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out, err := RewriteJSON(text, overrides)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// publish moves the staged files to dst. A process that dies here leaves the old weights whole, or the new ones whole, or
// an incomplete set that Open refuses; never a mix that loads.
func publish(stage, dst string, others, weights []string) error {
	for _, name := range others {
		if err := os.MkdirAll(filepath.Join(dst, filepath.Dir(name)), 0o777); err != nil {
			return hint(err)
		}
		if err := os.Rename(filepath.Join(stage, name), filepath.Join(dst, name)); err != nil {
			return hint(err)
		}
	}
	if len(weights) > 1 { // new shards may have the names of old ones: without the old index those cannot be read together
		if err := os.Remove(filepath.Join(dst, IndexFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return hint(err)
		}
		if err := syncDir(dst); err != nil {
			return err
		}
	}
	for _, name := range weights {
		if err := os.Rename(filepath.Join(stage, name), filepath.Join(dst, name)); err != nil {
			return hint(err)
		}
	}
	if err := syncDir(dst); err != nil {
		return err
	}
	entries, err := os.ReadDir(dst)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ownWeights.MatchString(e.Name()) && !slices.Contains(weights, e.Name()) {
			if err := os.Remove(filepath.Join(dst, e.Name())); err != nil {
				return hint(err)
			}
		}
	}
	return syncDir(dst)
}

// copySourceFiles copies what belongs to the model but is neither weights nor config.json from src to stage, and returns
// the relative paths. Symbolic links are followed to files (the Hugging Face cache is made of them). When src is dst there is
// nothing to copy.
func copySourceFiles(stage, src, dst string) ([]string, error) {
	to, err := os.Stat(dst)
	if err != nil {
		return nil, err
	}
	if from, err := os.Stat(src); err != nil {
		return nil, err
	} else if os.SameFile(from, to) {
		return nil, nil
	}
	var copied []string
	err = filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == src {
			return nil
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		st, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a dangling link
		}
		if err != nil {
			return err
		}
		if d.IsDir() && (skipSource(rel) || within(dst, path) || isRun(path)) {
			return filepath.SkipDir
		}
		if !st.Mode().IsRegular() || skipSource(rel) {
			return nil
		}
		if err := copyFile(filepath.Join(stage, rel), path); err != nil {
			return err
		}
		copied = append(copied, rel)
		return nil
	})
	return copied, err
}

// skipSource says whether a path within a source checkpoint stays behind.
func skipSource(rel string) bool {
	name := filepath.Base(rel)
	_, isCheckpoint := parseStep(name)
	return rel == ConfigFile || strings.HasPrefix(name, ".") || isCheckpoint || slices.Contains(runFiles, name) ||
		slices.Contains(weightExtensions, strings.ToLower(filepath.Ext(name))) || indexName.MatchString(name)
}

// isRun says whether a directory is a run's output: trained below its source, it is no part of it.
func isRun(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "run.yaml"))
	return err == nil
}

func copyFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(dst), 0o777); err != nil {
		return hint(err)
	}
	return writeSynced(dst, 0o666, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}
