package data

// Tokenizer is what this package needs of a tokenizer. It must be safe for concurrent use.
type Tokenizer interface {
	// AppendIDs appends the ids of text to dst; special adds what the tokenizer's post-processor adds (BOS, EOS).
	AppendIDs(dst []int32, text string, special bool) ([]int32, error)
	// EncodeSpans gives ids without added special tokens, and for each the bytes text[start:end] that it came from.
	EncodeSpans(text string) (ids []int32, start, end []int, err error)
	BOS() (id int32, ok bool)
	EOS() (id int32, ok bool)
	PAD() (id int32, ok bool)
	// IsSpecial reports whether id is a special (control) token.
	IsSpecial(id int32) bool
	// Token is the vocabulary entry of id, for messages.
	Token(id int32) string
	// Decode gives the text of ids, special tokens included.
	Decode(ids []int32) string
	// Fingerprint changes whenever any encoding may change.
	Fingerprint() string
}

// Span is a range of bytes of a rendered chat that message number Message (from 0) speaks, all of it assistant text.
type Span struct{ Start, End, Message int }

// Template renders conversations. It must be safe for concurrent use.
type Template interface {
	Name() string
	// Render gives the chat as text; generationPrompt adds the opening of the assistant's next turn.
	Render(c Conversation, generationPrompt bool) (string, error)
	// AssistantSpans renders without a generation prompt and gives what the assistant says in it, in ascending order. It is
	// an error where the template gives no consistent answer.
	AssistantSpans(c Conversation) (string, []Span, error)
	// Fingerprint changes whenever any rendering may change.
	Fingerprint() string
}
