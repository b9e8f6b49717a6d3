package tokenizer

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// spModel is what a SentencePiece model file says, as far as tokenizing needs it
// (github.com/google/sentencepiece, src/sentencepiece_model.proto).
type spModel struct {
	pieces                  []spPiece
	kind                    uint64 // 1 unigram, 2 BPE, 3 word, 4 char
	byteFallback            bool
	suffixSpaces            bool // white space belongs to the end of words
	unkID, bosID, eosID     int32
	unkPiece, bosPiece      string
	eosPiece                string
	charsMap                []byte
	dummyPrefix, dropSpaces bool // put a space in front; drop surplus spaces
	escapeSpaces            bool
}

type spPiece struct {
	text  string
	score float32
	kind  uint64
}

// Kinds of models and pieces.
const (
	spUnigram = 1
	spBPE     = 2

	spNormal      = 1
	spControl     = 3
	spUserDefined = 4
)

// errProto is wrapped by errors about files that are no SentencePiece model.
var errProto = errors.New("not a valid SentencePiece model")

// fieldFunc takes one field: n for numbers, and the raw bytes for strings and messages.
type fieldFunc func(num protowire.Number, n uint64, raw []byte) error

// walkProto calls f for every field of a message.
func walkProto(b []byte, f fieldFunc) error {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", errProto, protowire.ParseError(n))
		}
		b = b[n:]
		var v uint64
		var raw []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var x uint32
			x, n = protowire.ConsumeFixed32(b)
			v = uint64(x)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			raw, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return fmt.Errorf("%w: field %d: %w", errProto, num, protowire.ParseError(n))
		}
		b = b[n:]
		if err := f(num, v, raw); err != nil {
			return err
		}
	}
	return nil
}

// parseSentencePiece reads a model file.
func parseSentencePiece(data []byte) (*spModel, error) {
	m := &spModel{kind: spUnigram, bosID: 1, eosID: 2, unkPiece: "<unk>", bosPiece: "<s>", eosPiece: "</s>",
		dummyPrefix: true, dropSpaces: true, escapeSpaces: true}
	err := walkProto(data, func(num protowire.Number, _ uint64, raw []byte) error {
		switch num {
		case 1:
			p := spPiece{kind: spNormal}
			if err := walkProto(raw, p.field); err != nil {
				return fmt.Errorf("piece %d: %w", len(m.pieces), err)
			}
			if !utf8.ValidString(p.text) {
				return fmt.Errorf("piece %d: %w", len(m.pieces), ErrInvalidUTF8)
			}
			if p.score != p.score || math.IsInf(float64(p.score), 0) {
				return fmt.Errorf("piece %d (%q): score is %v", len(m.pieces), p.text, p.score)
			}
			m.pieces = append(m.pieces, p)
		case 2:
			return walkProto(raw, m.trainerField)
		case 3:
			return walkProto(raw, m.normalizerField)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(m.pieces) == 0 {
		return nil, fmt.Errorf("%w: it has no pieces", errProto)
	}
	if len(m.pieces) >= maxTokenID {
		return nil, fmt.Errorf("%d pieces are above %d", len(m.pieces), maxTokenID)
	}
	return m, m.check()
}

func (p *spPiece) field(num protowire.Number, n uint64, raw []byte) error {
	switch num {
	case 1:
		p.text = string(raw)
	case 2:
		p.score = math.Float32frombits(uint32(n))
	case 3:
		p.kind = n
	}
	return nil
}

func (m *spModel) trainerField(num protowire.Number, n uint64, raw []byte) error {
	switch num {
	case 3:
		m.kind = n
	case 24:
		m.suffixSpaces = n != 0
	case 35:
		m.byteFallback = n != 0
	case 40:
		m.unkID = int32(n)
	case 41:
		m.bosID = int32(n)
	case 42:
		m.eosID = int32(n)
	case 45:
		m.unkPiece = string(raw)
	case 46:
		m.bosPiece = string(raw)
	case 47:
		m.eosPiece = string(raw)
	}
	return nil
}

func (m *spModel) normalizerField(num protowire.Number, n uint64, raw []byte) error {
	switch num {
	case 2:
		m.charsMap = raw
	case 3:
		m.dummyPrefix = n != 0
	case 4:
		m.dropSpaces = n != 0
	case 5:
		m.escapeSpaces = n != 0
	}
	return nil
}

// check reports what the conversion does not cover.
func (m *spModel) check() error {
	switch {
	case m.kind != spUnigram && m.kind != spBPE:
		return fmt.Errorf("%w: model type %d (1 unigram and 2 BPE are)", ErrUnsupported, m.kind)
	case m.suffixSpaces:
		return fmt.Errorf("%w: treat_whitespace_as_suffix", ErrUnsupported)
	case !m.escapeSpaces:
		return fmt.Errorf("%w: escape_whitespaces false", ErrUnsupported)
	case m.unkID < 0 || int(m.unkID) >= len(m.pieces):
		return fmt.Errorf("unk_id %d is outside the %d pieces", m.unkID, len(m.pieces))
	}
	seen := make(map[string]int, len(m.pieces))
	for i, p := range m.pieces {
		if p.text == "" {
			return fmt.Errorf("piece %d is empty", i)
		}
		if k, ok := seen[p.text]; ok {
			return fmt.Errorf("pieces %d and %d are both %q", k, i, p.text)
		}
		seen[p.text] = i
	}
	return nil
}
