// Package inspect is what `mltrain data` shows of a dataset: a preview of rows with their loss mask, statistics, checks for
// the faults that silently spoil a fine-tune, and conversion between formats. Its functions give results; colours and JSON
// are theirs too, exit codes the caller's.
package inspect
