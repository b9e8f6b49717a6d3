package eval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/infer"
	"github.com/mltrain/mltrain/internal/template"
	"github.com/mltrain/mltrain/internal/tokenizer"
)

// defaultMaxLength is the longest input where a model states none, as in lm-evaluation-harness.
const defaultMaxLength = 2048

// LM is a model with its tokenizer, as evaluations ask it.
type LM struct {
	engine    *infer.Engine
	tok       *tokenizer.Tokenizer
	maxLength int
	prefixID  int32  // what stands before the first token: BOS, else EOS
	prefix    string // its text
	eos       string
	stops     []int32 // tokens that end a generation
	template  data.Template

	cut            int    // inputs that lost their beginning, being too long
	lastContext    string // of encodePair, whose choices mostly share one
	lastContextIDs []int32
}

// NewLM joins a model and its tokenizer. stops are the tokens that end a text by the model's files.
func NewLM(engine *infer.Engine, tok *tokenizer.Tokenizer, stops []int32) *LM {
	m := &LM{engine: engine, tok: tok.WithoutLimits(), maxLength: engine.Model().Info().MaxPositions, stops: stops}
	if m.maxLength <= 0 {
		m.maxLength = defaultMaxLength
	}
	special := tok.Config().SpecialTokens
	m.eos = special["eos_token"]
	for _, key := range []string{"bos_token", "eos_token"} {
		if id, ok := tok.TokenToID(special[key]); ok && special[key] != "" && m.prefix == "" {
			m.prefixID, m.prefix = id, special[key]
		}
	}
	return m
}

// start is the token that texts without context begin after.
func (m *LM) start() (int32, error) {
	if m.prefix == "" {
		return 0, errors.New("the tokenizer names neither a bos_token nor an eos_token, and a text needs one to begin after; add it to tokenizer_config.json")
	}
	return m.prefixID, nil
}

// UseTemplate sets the chat template for prompts; it renders turns when the run asks for chats.
func (m *LM) UseTemplate(t data.Template) { m.template = t }

// MaxLength is the longest input in tokens.
func (m *LM) MaxLength() int { return m.maxLength }

// encode is the text's tokens with the special ones that the tokenizer adds, unless the text begins with BOS itself.
func (m *LM) encode(text string) ([]int32, error) {
	return m.tok.AppendIDs(nil, text, m.prefix == "" || !strings.HasPrefix(text, m.prefix))
}

// encodePair gives the tokens of a context and of a continuation. They are tokenised together and then cut where the
// context alone ends, and space at the end of the context is the continuation's, so that the tokens are those that a
// text has. An empty context is BOS, or EOS where there is none. At most maxLength+1 tokens are kept, the last ones.
func (m *LM) encodePair(context, continuation string) (infer.Query, error) {
	trimmed := strings.TrimRightFunc(context, pySpace)
	continuation = context[len(trimmed):] + continuation
	var ids []int32
	var n int
	if trimmed == "" {
		cont, err := m.tok.AppendIDs(nil, continuation, false)
		if err != nil {
			return infer.Query{}, err
		}
		start, err := m.start()
		if err != nil {
			return infer.Query{}, err
		}
		ids, n = cont, 1
		if len(cont) == 0 || cont[0] != start {
			ids = append([]int32{start}, cont...)
		}
	} else {
		whole, err := m.encode(trimmed + continuation)
		if err != nil {
			return infer.Query{}, err
		}
		own, err := m.encodeContext(trimmed)
		if err == nil && len(own) == 0 {
			err = fmt.Errorf("the context %.40q has no tokens", trimmed)
		}
		if err != nil {
			return infer.Query{}, err
		}
		ids, n = append(slices.Clone(own), whole[min(len(own), len(whole)):]...), len(own)
	}
	if len(ids) == n {
		return infer.Query{}, fmt.Errorf("the continuation %.40q has no tokens of its own", continuation)
	}
	if len(ids)-n > m.maxLength {
		return infer.Query{}, fmt.Errorf("the continuation has %d tokens, the model takes %d", len(ids)-n, m.maxLength)
	}
	if drop := len(ids) - (m.maxLength + 1); drop > 0 {
		ids, n = ids[drop:], n-drop
		m.cut++
	}
	return infer.Query{IDs: ids, From: n}, nil
}

// encodeContext is encode, which remembers the last context.
func (m *LM) encodeContext(text string) ([]int32, error) {
	if m.lastContextIDs != nil && m.lastContext == text {
		return m.lastContextIDs, nil
	}
	ids, err := m.encode(text)
	if err != nil {
		return nil, err
	}
	m.lastContext, m.lastContextIDs = text, ids
	return ids, nil
}

// windows cuts a text that may be longer than the model's input into queries that together predict each token once. The
// first predicts from BOS on; each further one has as much context as fits and predicts as many tokens as the model takes,
// after a single token of context, the last one the rest of the text with all the context that there is.
func (m *LM) windows(text string) ([]infer.Query, error) {
	ids, err := m.encode(text)
	if err != nil {
		return nil, err
	}
	var out []infer.Query
	first := min(m.maxLength, len(ids))
	if first == 0 {
		return nil, nil
	}
	start, err := m.start()
	if err != nil {
		return nil, err
	}
	out = append(out, infer.Query{IDs: append([]int32{start}, ids[:first]...), From: 1})
	for done := first; done < len(ids); {
		n := min(m.maxLength, len(ids)-done)
		end := done + n
		out = append(out, infer.Query{IDs: ids[end-m.maxLength-1 : end], From: m.maxLength + 1 - n})
		done = end
	}
	return out, nil
}

// strides cuts a sequence into windows of at most size tokens that begin every stride tokens; each predicts what those
// before it have not, so that all but the first have at least size − stride tokens of context. The first token of all is
// given.
func strides(ids []int32, size, stride int) []infer.Query {
	var out []infer.Query
	done := 1
	for begin := 0; done < len(ids); begin += stride {
		end := min(begin+size, len(ids))
		if end > done {
			out = append(out, infer.Query{IDs: ids[begin:end], From: done - begin})
			done = end
		}
	}
	return out
}

// genArgs are the generation_kwargs of a task.
type genArgs struct {
	Until       []string `json:"until"`
	MaxGenToks  int      `json:"max_gen_toks"`
	DoSample    bool     `json:"do_sample"`
	Temperature float64  `json:"temperature"`
	TopP        float64  `json:"top_p,omitempty"`
	TopK        int      `json:"top_k,omitempty"`
}

// parseGenArgs reads generation_kwargs; until is the delimiter of examples where it is not given.
func parseGenArgs(kwargs map[string]any, delimiter string) (genArgs, error) {
	g := genArgs{Until: []string{delimiter}, MaxGenToks: 256}
	var faults []error
	fault := func(key string, v any, want string) {
		faults = append(faults, fmt.Errorf("generation_kwargs: %s is %v, want %s", key, v, want))
	}
	sampleSet := false
	for _, alias := range []string{"max_completion_tokens", "max_tokens", "max_new_tokens", "max_gen_toks"} { // the last one wins
		if v, ok := kwargs[alias]; ok && v != nil {
			n, ok := v.(int)
			if !ok || n < 1 {
				fault(alias, v, "a whole number above 0")
			}
			g.MaxGenToks = n
		}
	}
	for k, v := range kwargs {
		f, isNumber := asFloat(v)
		switch k {
		case "max_completion_tokens", "max_tokens", "max_new_tokens", "max_gen_toks":
		case "until":
			switch u := v.(type) {
			case string:
				g.Until = []string{u}
			case []any:
				g.Until = nil
				for _, x := range u {
					s, ok := x.(string)
					if !ok {
						fault(k, v, "texts")
					}
					g.Until = append(g.Until, s)
				}
			default:
				fault(k, v, "a text or a list of texts")
			}
		case "do_sample":
			b, ok := v.(bool)
			if !ok {
				fault(k, v, "true or false")
			}
			g.DoSample, sampleSet = b, true
		case "temperature":
			if !isNumber || f < 0 {
				fault(k, v, "a number from 0")
			}
			g.Temperature = f
		case "top_p":
			if !isNumber || f < 0 || f > 1 {
				fault(k, v, "a number from 0 to 1")
			}
			g.TopP = f
		case "top_k":
			if !isNumber || f < 0 || f != float64(int(f)) {
				fault(k, v, "a whole number from 0")
			}
			g.TopK = int(f)
		default:
			faults = append(faults, fmt.Errorf("generation_kwargs: %s is not available here; there are until, max_gen_toks, do_sample, temperature, top_p, top_k", k))
		}
	}
	if !sampleSet {
		g.DoSample = g.Temperature > 0
	}
	switch {
	case !g.DoSample:
		g.Temperature = 0
	case g.Temperature == 0:
		g.Temperature = 1 // what transformers draws with where none is given
		if _, ok := kwargs["temperature"]; ok {
			fault("temperature", 0, "more than 0 where do_sample is true")
		}
	}
	return g, errors.Join(faults...)
}

func asFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// generation is a prompt to continue.
type generation struct {
	prompt []int32
	stream int // of random numbers
}

// encodePrompt gives the tokens of a prompt, the last ones that leave room for what is to be generated.
func (m *LM) encodePrompt(text string, g genArgs) ([]int32, error) {
	room := m.maxLength - g.MaxGenToks
	if room <= 0 {
		return nil, fmt.Errorf("max_gen_toks is %d, which leaves no room for a prompt: the model takes %d tokens; set it with --gen-kwargs max_gen_toks=N",
			g.MaxGenToks, m.maxLength)
	}
	ids, err := m.encode(text)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		start, err := m.start()
		if err != nil {
			return nil, err
		}
		ids = []int32{start}
	}
	if len(ids) > room {
		ids = ids[len(ids)-room:]
		m.cut++
	}
	return ids, nil
}

// generate continues prompts until a stop text, EOS or the most tokens, and gives the new texts without the stop text. After
// each token, onToken is told how many of them have ended.
func (m *LM) generate(ctx context.Context, prompts []generation, g genArgs, seed uint64, onToken func(ended int)) ([]string, error) {
	until := append([]string(nil), g.Until...)
	if m.eos != "" {
		until = append(until, m.eos)
	}
	longest := 0
	for _, u := range until {
		longest = max(longest, len(u))
	}
	ids := make([][]int32, len(prompts))
	streams := make([]int, len(prompts))
	for i, p := range prompts {
		ids[i], streams[i] = p.prompt, p.stream
	}
	written := make([][]int32, len(prompts))
	ended := 0
	out, err := m.engine.Generate(ctx, ids, infer.Options{
		MaxNewTokens: g.MaxGenToks, Stop: m.stops, Streams: streams,
		Sampling: infer.Sampling{Temperature: g.Temperature, TopP: g.TopP, TopK: g.TopK, Seed: seed},
		OnToken: func(seq int, id int32) bool {
			written[seq] = append(written[seq], id)
			// A token is at least a byte of text, but for those that begin a character.
			tail := written[seq][max(0, len(written[seq])-longest-4):]
			stop := containsAny(m.tok.Decode(tail, false), until)
			if stop || len(written[seq]) == g.MaxGenToks || slices.Contains(m.stops, id) {
				ended++
			}
			onToken(ended)
			return !stop
		},
	})
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(out))
	for i, s := range out {
		new := s.IDs
		if n := len(new); n > 0 && s.Stopped {
			new = m.withoutStop(new)
		}
		texts[i] = cutAtFirst(m.tok.Decode(new, true), until)
	}
	return texts, nil
}

// withoutStop drops a stop token at the end, which is no text though the tokenizer may not count it as special.
func (m *LM) withoutStop(ids []int32) []int32 {
	last := ids[len(ids)-1]
	for _, id := range m.stops {
		if id == last {
			return ids[:len(ids)-1]
		}
	}
	return ids
}

func containsAny(s string, terms []string) bool {
	for _, t := range terms {
		if t != "" && strings.Contains(s, t) {
			return true
		}
	}
	return false
}

// cutAtFirst cuts a text where the first of the terms begins.
func cutAtFirst(s string, terms []string) string {
	for _, t := range terms {
		if t != "" {
			s, _, _ = strings.Cut(s, t)
		}
	}
	return s
}

// chat renders turns by the model's template. Where the last turn is the beginning of an answer, the text ends with it. A
// template that refuses system turns is given none.
func (m *LM) chat(turns []message, addGenerationPrompt bool) (string, error) {
	text, err := m.renderChat(turns, addGenerationPrompt)
	if errors.Is(err, template.ErrRaised) && turns[0].role == "system" {
		text, err = m.renderChat(turns[1:], addGenerationPrompt)
	}
	if err != nil || addGenerationPrompt {
		return text, err
	}
	last := turns[len(turns)-1].content
	at := strings.LastIndex(text, strings.TrimFunc(last, pySpace))
	if at < 0 {
		return "", errors.New("the chat template changes the beginning of the answer (gen_prefix), so that it cannot be continued")
	}
	if rest := strings.TrimLeftFunc(last, pySpace); strings.HasPrefix(text[at:], rest) {
		return text[:at+len(rest)], nil
	}
	return text[:at+len(strings.TrimFunc(last, pySpace))], nil
}

func (m *LM) renderChat(turns []message, addGenerationPrompt bool) (string, error) {
	conv := data.Conversation{Messages: make([]data.Message, len(turns))}
	for i, t := range turns {
		conv.Messages[i] = data.Message{Role: t.role, Content: t.content}
	}
	return m.template.Render(conv, addGenerationPrompt)
}
