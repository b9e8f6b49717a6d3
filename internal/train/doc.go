// Package train runs training: from a resolved run config and a backend to a fine-tuned checkpoint.
//
// One loop serves every method. What a method adds is an Objective, which turns a micro-batch into a loss on the tape;
// what it trains on comes as Batches, which give any micro-batch of any epoch by number, so that the state of a run is a
// few counters. A run's memory is planned before it starts, by building the same engine on a counting backend (Plan), and
// nothing is allocated after that.
package train
