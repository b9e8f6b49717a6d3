package tokenizer

import "strings"

// DecodeStream turns ids into text while they arrive. It gives out a rune only when all its bytes are there, and what
// it gives out, joined, is what Decode makes of all ids at once.
//
// One case cannot be so: where bytes that follow a finished rune spoil a whole run of byte tokens (<0xNN>), Decode
// would take the rune back. The stream keeps it and decodes the rest by itself.
type DecodeStream struct {
	t           *Tokenizer
	skipSpecial bool
	ids         []int32 // the latest ids: some context, then what is not given out yet
	given       string  // the part of ids' text that was given out
	settled     int     // ids[:settled] are fully given out
	mark        int     // an earlier value of settled, to cut at
}

// Limits of a stream's memory: ids kept at most before old ones go, and ids that may wait for a rune to be complete.
const (
	streamWindow  = 64
	streamContext = 16
	streamPending = 16
)

// NewDecodeStream returns a stream with the meaning of Decode(ids, skipSpecial). It is not for concurrent use.
func (t *Tokenizer) NewDecodeStream(skipSpecial bool) *DecodeStream {
	return &DecodeStream{t: t, skipSpecial: skipSpecial}
}

// Next takes the next id and returns the text that it completes, often the text of the id itself, or "".
func (s *DecodeStream) Next(id int32) string {
	s.ids = append(s.ids, id)
	text := s.t.Decode(s.ids, s.skipSpecial)
	// Bytes that may still become a rune show as U+FFFD at the end.
	stable := strings.TrimRight(text, "\uFFFD")
	if !strings.HasPrefix(stable, s.given) {
		if len(s.ids)-s.settled > streamPending {
			return s.restart()
		}
		return ""
	}
	out := stable[len(s.given):]
	s.given = stable
	if stable == text {
		s.settle()
	} else if len(s.ids)-s.settled > streamPending {
		out += text[len(stable):]
		s.given = text
		s.settle()
	}
	return out
}

// settle notes that everything was given out, and forgets ids that no later text depends on.
func (s *DecodeStream) settle() {
	s.settled = len(s.ids)
	if s.settled-s.mark <= streamContext {
		return
	}
	if len(s.ids) > streamWindow {
		kept := s.ids[s.mark:]
		if given := s.t.Decode(kept, s.skipSpecial); given != "" && !strings.HasSuffix(given, "\uFFFD") {
			s.ids = append(s.ids[:0:0], kept...)
			s.given = given
			s.settled = len(s.ids)
		}
	}
	s.mark = s.settled
}

// restart decodes what was held back by itself.
func (s *DecodeStream) restart() string {
	rest := s.t.Decode(s.ids[s.settled:], s.skipSpecial)
	s.ids, s.given, s.settled, s.mark = nil, "", 0, 0
	return rest
}

// Flush returns whatever is still held back and makes the stream ready for new ids.
func (s *DecodeStream) Flush() string {
	text := s.t.Decode(s.ids, s.skipSpecial)
	if rest, ok := strings.CutPrefix(text, s.given); ok {
		s.ids, s.given, s.settled, s.mark = nil, "", 0, 0
		return rest
	}
	return s.restart()
}
