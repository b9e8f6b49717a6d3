package data

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// ParseConversation reads a chat to be rendered: an object in the shape of a messages or ShareGPT row, or the bare list of its
// messages.
func ParseConversation(raw []byte) (Conversation, error) {
	if b := bytes.TrimSpace(raw); len(b) > 0 && b[0] == '[' {
		raw = fmt.Appendf(nil, `{"messages": %s}`, b)
	}
	var obj map[string]json.RawMessage
	if err := json.Unmarshal(raw, &obj); err != nil {
		return Conversation{}, err
	}
	row, err := ParseRow(obj, LayoutAuto, nil)
	if err != nil {
		return Conversation{}, err
	}
	if row.Layout != LayoutMessages && row.Layout != LayoutShareGPT {
		return Conversation{}, fmt.Errorf("%w: found a %s row, needed is a chat: {\"messages\": [{\"role\": …, \"content\": …}]}", ErrShape, row.Layout)
	}
	return row.conversation(row.Messages), nil
}
