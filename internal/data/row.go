package data

import (
	"encoding/json"
	"fmt"
)

// Ref says where a row came from.
type Ref struct {
	File string `json:"file"`
	Line int    `json:"line"` // line of the file, from 1; 0 when the format has no lines (Parquet)
	Row  int    `json:"row"`  // number of the row in the file, from 1; of the window in a text file
}

// String gives file:line, or file#row where the format has no lines.
func (r Ref) String() string {
	if r.Line > 0 {
		return fmt.Sprintf("%s:%d", r.File, r.Line)
	}
	return fmt.Sprintf("%s#%d", r.File, r.Row)
}

// Layout names how a row is written down.
type Layout string

// The layouts, by the names that a dataset's `type` takes.
const (
	LayoutAuto             Layout = "auto"
	LayoutText             Layout = "text"
	LayoutMessages         Layout = "messages"
	LayoutShareGPT         Layout = "sharegpt"
	LayoutAlpaca           Layout = "alpaca"
	LayoutPromptCompletion Layout = "prompt_completion"
	LayoutPreference       Layout = "preference"
	LayoutKTO              Layout = "kto"
)

// Field is a key and its JSON value, kept in the order of the file.
type Field struct {
	Key   string
	Value json.RawMessage
}

// Message is one turn of a conversation.
type Message struct {
	Role      string
	Content   string
	NoContent bool     // content was null or absent: the template sees none
	Weight    *float64 // loss weight, where the row gives one
	Extra     []Field  // all other keys: name, tool_calls, tool_call_id, reasoning_content …
}

// Part is a prompt or a completion: plain text, or messages.
type Part struct {
	Text     string
	Messages []Message
	Chat     bool // Messages holds it, else Text
}

// Empty reports whether there is nothing in it: no text, or no message with content or calls.
func (p Part) Empty() bool {
	if !p.Chat {
		return p.Text == ""
	}
	for _, m := range p.Messages {
		if m.Content != "" || len(m.Extra) > 0 {
			return false
		}
	}
	return true
}

// Row is one row of data in its canonical form. Which fields are set follows from Layout:
//
//	text               Text
//	messages, sharegpt Messages
//	alpaca, prompt_completion, kto   Prompt, Completion (kto: Label)
//	preference         Prompt, Chosen, Rejected
type Row struct {
	Ref    Ref
	Layout Layout

	Text                                 string
	Messages                             []Message
	Prompt, Completion, Chosen, Rejected Part
	Label                                bool
	Margin                               json.RawMessage // of a preference row: by how much chosen is better; nil if absent

	Tools  json.RawMessage // functions that the template may offer, or nil
	Kwargs []Field         // further inputs of the template (chat_template_kwargs)
}

// Conversation is what a chat template renders.
type Conversation struct {
	Messages []Message
	Tools    json.RawMessage
	Kwargs   []Field
}

func (r *Row) conversation(messages []Message) Conversation {
	return Conversation{Messages: messages, Tools: r.Tools, Kwargs: r.Kwargs}
}
