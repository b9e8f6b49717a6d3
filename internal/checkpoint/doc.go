// Package checkpoint reads and writes what a training run leaves on disk: Hugging Face checkpoints (safetensors, single or
// sharded, with config.json and the tokenizer's files), the state needed to resume a run exactly, and trainer_state.json.
//
// Reading maps files into memory and hands out views without copying. Writing goes to a temporary name in the same
// directory, is synced, and only then renamed, so that a reader (or a run resumed after kill -9 or a power cut) sees either
// the old file or the new one, never half of one.
//
// A run's directory, as `mltrain` lays it out:
//
//	OUTPUT/config.json, model.safetensors, tokenizer.json, …   the final model
//	OUTPUT/checkpoint-<step>/…                                 the same, plus
//	OUTPUT/checkpoint-<step>/training_state/state.json         counters, RNG, data order, schedule
//	OUTPUT/checkpoint-<step>/training_state/tensors.safetensors   optimiser moments, master weights
//	OUTPUT/checkpoint-<step>/training_state/manifest.json      size and SHA-256 of every file of the checkpoint
package checkpoint
