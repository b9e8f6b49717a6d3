package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/hub"
)

// resolveModel gives the directory of a model: ref itself where it is one, else what hub reference (org/name, org/name@revision,
// hf://org/name) it is, fetched into the cache that it shares with Python's huggingface_hub.
func resolveModel(ctx context.Context, app *App, ref string) (string, error) {
	if info, err := os.Stat(ref); err == nil {
		if !info.IsDir() {
			return "", fmt.Errorf("model %s is a file; give the directory of a Hugging Face checkpoint", ref)
		}
		return ref, nil
	}
	if !isHubModel(ref) {
		return "", fmt.Errorf("model %s: no such directory; give the directory of a Hugging Face checkpoint, or org/name of one on the hub", ref)
	}
	dir, err := fetchFromHub(ctx, app, ref, hub.FromEnv(os.Getenv))
	if errors.Is(err, hub.ErrNotFound) || errors.Is(err, hub.ErrOffline) || errors.Is(err, hub.ErrUnauthorized) {
		return "", fmt.Errorf("model %s: no such directory here, and on the hub: %w", ref, err)
	}
	if err != nil {
		return "", fmt.Errorf("model %s: %w", ref, err)
	}
	return dir, nil
}

// isHubModel tells org/name from what can only be a path.
func isHubModel(ref string) bool {
	if rest, ok := strings.CutPrefix(ref, "hf://"); ok {
		return rest != ""
	}
	name, _, _ := strings.Cut(ref, "@")
	r, err := hub.ParseRef(ref)
	return err == nil && r.Type == "model" && strings.Count(name, "/") == 1
}

// resolveData gives the path of a dataset: path itself, or what hf://org/name[@revision][/file] is, fetched.
func resolveData(ctx context.Context, app *App, path string) (string, error) {
	rest, ok := strings.CutPrefix(path, "hf://")
	if !ok {
		return path, nil
	}
	ref := path
	if !strings.HasPrefix(rest, "datasets/") && !strings.HasPrefix(rest, "models/") {
		ref = "hf://datasets/" + rest
	}
	local, err := fetchFromHub(ctx, app, ref, hub.FromEnv(os.Getenv))
	if err != nil {
		return "", fmt.Errorf("data %s: %w", path, err)
	}
	return local, nil
}

// resolveDatasets gives a config of which all data is here. The original keeps its names, for the record of the run.
func resolveDatasets(ctx context.Context, app *App, r *config.Resolved) (*config.Resolved, error) {
	local := *r
	resolve := func(sets []config.Dataset) ([]config.Dataset, error) {
		out := make([]config.Dataset, len(sets))
		for i, d := range sets {
			var err error
			if d.Path, err = resolveData(ctx, app, d.Path); err != nil {
				return nil, err
			}
			out[i] = d
		}
		return out, nil
	}
	var err error
	if local.Config.Datasets, err = resolve(r.Config.TrainDatasets()); err != nil {
		return nil, err
	}
	local.Config.DatasetName = ""
	if local.Config.EvalStrategy == "no" {
		return &local, nil // evaluation data is not read
	}
	local.Config.EvalDataset, err = resolve(r.Config.EvalDataset)
	return &local, err
}

// fetchFromHub makes a reference available on disk and shows how it comes in.
func fetchFromHub(ctx context.Context, app *App, ref string, o hub.Options) (string, error) {
	progress := newTransfers(app, ref)
	defer progress.close()
	o.Progress = progress
	return hub.Resolve(ctx, ref, o)
}
