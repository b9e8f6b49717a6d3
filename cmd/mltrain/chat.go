package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/infer"
	"github.com/mltrain/mltrain/internal/tokenizer"
	"github.com/mltrain/mltrain/internal/train"
	"github.com/mltrain/mltrain/internal/ui"
)

// ChatOptions are the flags of chat.
type ChatOptions struct {
	Model, Adapter, System, Device, Template string
	MaxNewTokens, TopK, Context              int
	AssistantTokens                          int
	Temperature, TopP                        float64
	Seed                                     uint64
}

const chatHelp = `/reset        forget the conversation, but not the system prompt
/system TEXT  set the system prompt and forget the conversation; without TEXT there is none
/save FILE    write the conversation as one JSON object with "messages"
/help         show this
/exit         leave; Ctrl-D does too
//…           say something that begins with a slash
`

func newChatCommand(app *App) *cobra.Command {
	o := &ChatOptions{}
	cmd := &cobra.Command{
		Use:   "chat",
		Short: "Talk with a model",
		Long: `Talk with a model in the terminal. Each line is said to the model, which remembers
the conversation; its answer appears as it comes. When the conversation outgrows the
model's context, the oldest turns are forgotten. From a pipe each line gets an answer
on stdout, and the first error ends it. Lines that begin with a slash are commands:

` + chatHelp,
		Example: `  mltrain chat --model runs/chat --system "You are brief."
  printf 'Hello!\nAnd again?\n/save talk.json\n' | mltrain chat --model runs/chat --temperature 0`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runChat(cmd.Context(), app, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Model, "model", "", "directory of a Hugging Face checkpoint, or org/name on the hub")
	f.StringVar(&o.Adapter, "adapter", "", "directory of a PEFT adapter to use with the model")
	f.StringVar(&o.System, "system", "", "system prompt")
	f.StringVar(&o.Template, "chat-template", "auto", "chat layout: auto, a built-in name or a file")
	f.IntVar(&o.MaxNewTokens, "max-new-tokens", 512, "most tokens of an answer")
	f.IntVar(&o.Context, "context", 0, "most tokens of conversation and answer; 0 is what the model was made for")
	f.Float64Var(&o.Temperature, "temperature", 0.7, "0 is greedy")
	f.Float64Var(&o.TopP, "top-p", 0.9, "draw from the smallest set of tokens with this probability")
	f.IntVar(&o.TopK, "top-k", 0, "draw from this many most likely tokens; 0 is all")
	f.Uint64Var(&o.Seed, "seed", 42, "seed of the draws")
	assistantFlag(f, &o.AssistantTokens)
	f.StringVar(&o.Device, "device", "auto", "auto, cpu, cuda or emulator")
	return cmd
}

// chat is a conversation in progress.
type chat struct {
	app     *App
	o       *ChatOptions
	tok     *tokenizer.Tokenizer
	tmpl    data.Template
	session *infer.Session
	stop    []int32
	limit   int // tokens of conversation and answer

	assistant int // most tokens to draft

	system   string
	messages []data.Message // without the system prompt
	turns    uint64         // answers so far, also those forgotten
	saved    []string       // files that this conversation wrote
}

func runChat(ctx context.Context, app *App, o *ChatOptions) error {
	switch {
	case o.Model == "":
		return usageErrorf("--model is not given")
	case o.MaxNewTokens < 1:
		return usageErrorf("--max-new-tokens %d: needed is 1 or more", o.MaxNewTokens)
	case o.Context < 0 || o.Context == 1:
		return usageErrorf("--context %d: needed is 2 or more, or 0", o.Context)
	}
	if err := checkAssistant(o.AssistantTokens); err != nil {
		return err
	}
	dir, err := resolveModel(ctx, app, o.Model)
	if err != nil {
		return err
	}
	adapter := ""
	if o.Adapter != "" {
		if adapter, err = resolveModel(ctx, app, o.Adapter); err != nil {
			return err
		}
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		return err
	}
	c := &chat{app: app, o: o, tok: tok.WithoutLimits(), stop: train.StopTokens(dir, tok), system: o.System}
	var warning string
	if c.tmpl, warning, err = data.ResolveTemplate(o.Template, tok, time.Time{}); err != nil {
		return err
	}
	if warning != "" {
		app.Log.Warn(warning)
	}
	engine, closeEngine, err := openEngine(app.Log, dir, adapter, o.Device, o.Context)
	if err != nil {
		return err
	}
	defer closeEngine()
	c.session = engine.NewSession()
	c.assistant = assistantTokens(app, engine, o.AssistantTokens)
	c.limit = engine.Model().Info().MaxPositions
	if o.Context > 0 {
		c.limit = o.Context
	}
	return c.run(ctx)
}

// run answers line by line until the input ends.
func (c *chat) run(ctx context.Context) error {
	in, isWriter := c.app.In.(io.Writer) // only a file can be a terminal, and files can be written to
	terminal := isWriter && ui.IsTerminal(in)
	if terminal && !c.app.Quiet {
		fmt.Fprintf(c.app.Err, "%s; /help shows the commands\n", c.o.Model)
	}
	lines := readLines(ctx, c.app.In)
	for {
		if terminal {
			fmt.Fprint(c.app.Out, "> ")
		}
		var line inputLine
		var more bool
		select {
		case <-ctx.Done():
			return ctx.Err()
		case line, more = <-lines:
		}
		if !more {
			if terminal {
				fmt.Fprintln(c.app.Out)
			}
			// An interruption ends the reader too, and select may see that first.
			return ctx.Err()
		}
		if line.err != nil {
			return line.err
		}
		err := c.line(ctx, line.text)
		switch {
		case errors.Is(err, errLeave):
			return nil
		case err != nil && (!terminal || ctx.Err() != nil):
			return err
		case err != nil:
			printError(c.app.Err, err)
		}
	}
}

// errLeave is what /exit gives.
var errLeave = errors.New("leave")

type inputLine struct {
	text string
	err  error
}

// readLines reads lines as they come, so that waiting for one can be interrupted. The channel is closed at the end.
func readLines(ctx context.Context, r io.Reader) <-chan inputLine {
	lines := make(chan inputLine)
	go func() {
		defer close(lines)
		in := bufio.NewReader(r)
		for {
			text, err := in.ReadString('\n')
			l := inputLine{text: strings.TrimRight(text, "\r\n")}
			if err != nil && err != io.EOF {
				l.err = err
			}
			if l.err != nil || text != "" {
				select {
				case lines <- l:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	return lines
}

// line does a command, or says the line to the model.
func (c *chat) line(ctx context.Context, text string) error {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	if rest, ok := strings.CutPrefix(text, "//"); ok {
		return c.say(ctx, "/"+rest)
	}
	if !strings.HasPrefix(text, "/") {
		return c.say(ctx, text)
	}
	name, arg, _ := strings.Cut(text, " ")
	switch arg = strings.TrimSpace(arg); name {
	case "/reset":
		c.messages = nil
	case "/system":
		c.system, c.messages = arg, nil
	case "/save":
		return c.save(arg)
	case "/help":
		fmt.Fprint(c.app.Err, chatHelp)
	case "/exit", "/quit":
		return errLeave
	default:
		return fmt.Errorf("no such command: %s (have /reset, /system, /save, /help, /exit; // says a line that begins with a slash)", name)
	}
	return nil
}

// say adds what the user says and the model's answer to the conversation. With an error nothing is added.
func (c *chat) say(ctx context.Context, text string) (err error) {
	before := c.messages
	defer func() {
		if err != nil {
			c.messages = before
		}
	}()
	c.messages = append(slices.Clone(before), data.Message{Role: "user", Content: text})
	ids, err := c.prompt()
	if err != nil {
		return err
	}
	room := min(c.o.MaxNewTokens, c.limit-len(ids))
	stream := c.tok.NewDecodeStream(true)
	var answer strings.Builder
	var writeErr error
	show := func(piece string) {
		answer.WriteString(piece)
		if writeErr == nil {
			_, writeErr = io.WriteString(c.app.Out, piece)
		}
	}
	out, reused, err := c.session.Generate(ctx, ids, infer.Options{
		MaxNewTokens: room, AssistantTokens: c.assistant,
		Sampling: infer.Sampling{Temperature: c.o.Temperature, TopK: c.o.TopK, TopP: c.o.TopP, Seed: c.o.Seed + c.turns},
		Stop:     c.stop,
		OnToken: func(_ int, id int32) bool {
			if !slices.Contains(c.stop, id) {
				show(stream.Next(id))
			}
			return writeErr == nil
		},
	})
	show(stream.Flush() + "\n")
	if err := errors.Join(err, writeErr); err != nil {
		return err
	}
	c.app.Log.Debug("the conversation was read", "tokens", len(ids), "of which anew", len(ids)-reused)
	if !out.Stopped {
		c.app.Log.Warn("the answer was cut off", "tokens", room)
	}
	c.turns++
	c.messages = append(c.messages, data.Message{Role: "assistant", Content: strings.TrimSuffix(answer.String(), "\n")})
	return nil
}

// prompt tokenises the conversation. Turns that leave no room for an answer are forgotten, the oldest first.
func (c *chat) prompt() ([]int32, error) {
	forgotten := 0
	for {
		text, err := c.tmpl.Render(data.Conversation{Messages: c.conversation()}, true)
		if err != nil {
			return nil, err
		}
		ids, err := c.tok.AppendIDs(nil, text, false)
		if err != nil {
			return nil, err
		}
		if len(ids)+min(c.o.MaxNewTokens, c.limit/4+1) <= c.limit {
			if forgotten > 0 {
				c.app.Log.Warn("the conversation outgrew the context; its oldest messages are forgotten", "messages", forgotten)
			}
			return ids, nil
		}
		next := slices.IndexFunc(c.messages[1:], func(m data.Message) bool { return m.Role == "user" })
		if next < 0 {
			if len(ids) < c.limit {
				return ids, nil // a short answer is better than none
			}
			return nil, fmt.Errorf("%d tokens are too long: the context is %d tokens", len(ids), c.limit)
		}
		c.messages = c.messages[next+1:]
		forgotten += next + 1
	}
}

// conversation is all that was said, after the system prompt.
func (c *chat) conversation() []data.Message {
	if c.system == "" {
		return c.messages
	}
	return append([]data.Message{{Role: "system", Content: c.system}}, c.messages...)
}

// savedMessage is a message as /save writes it.
type savedMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// save writes the conversation on one line, so that the file is a row of training data too. Only a file that this
// conversation wrote is replaced.
func (c *chat) save(path string) error {
	if path == "" {
		return errors.New("/save needs the name of a file")
	}
	if _, err := os.Stat(path); err == nil && !slices.Contains(c.saved, path) {
		return fmt.Errorf("%s exists; choose another name", path)
	}
	messages := []savedMessage{}
	for _, m := range c.conversation() {
		messages = append(messages, savedMessage{m.Role, m.Content})
	}
	err := checkpoint.WriteAtomic(path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(map[string]any{"messages": messages})
	})
	if err != nil {
		return err
	}
	c.saved = append(c.saved, path)
	c.app.Log.Info(fmt.Sprintf("%d messages saved to %s", len(messages), path))
	return nil
}
