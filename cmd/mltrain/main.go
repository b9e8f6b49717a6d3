// Command mltrain trains and fine-tunes transformer models from a run config.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals // the first one asks the run to save and stop
		cancel()
		<-signals // the second one does not wait for that
		os.Exit(exitInterrupted)
	}()
	os.Exit(execute(ctx, newApp(os.Stdin, os.Stdout, os.Stderr), os.Args[1:]))
}
