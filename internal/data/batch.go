package data

// Batch is one micro-batch as a single stream of T tokens with the boundaries of its S sequences.
//
// A sequence is a document that attends to itself only. Targets are shifted already: Targets[i] is the label of position i,
// the id of the token after it, or IgnoreIndex where that token carries no loss; the last token of every document has
// IgnoreIndex. Positions restart with every document. A padded batch has sequences of equal length, each a document and then
// padding, which comes last, so that causal attention never sees it.
type Batch struct {
	Tokens    []int32   // [T]
	Positions []int32   // [T]
	Targets   []int32   // [T]
	Weights   []float32 // [T] loss weight of each target; empty when all are 1
	Cu        []int32   // [S+1] sequence s is the tokens Cu[s]:Cu[s+1]
	Lens      []int32   // [S] tokens of the document in sequence s; the rest of it is padding
	Rows      []Ref     // [S] where each document came from
	MaxLen    int       // tokens of the longest sequence
	Trained   int       // targets other than IgnoreIndex
	Padding   int       // tokens of padding

	// Preference batches only.
	Indices   []int32   // [S] the dataset's row of each document's answer
	Prompt    []bool    // [T] targets that belong to a prompt (see TargetPrompts); empty for none
	Desirable []bool    // [S] labels of unpaired answers
	Margins   []float64 // of the pairs of a reward model's batch
	Reference []float64 // [S] log-likelihoods by the reference model, if they were computed before
	// Shared lays pairs out with their prompt once (see Loader.FillShared), or is nil.
	Shared *SharedPrompts
	// Mismatched holds the same answers after other rows' prompts, or nil.
	Mismatched *Batch

	stored   []uint32 // scratch: one row as stored
	weighted bool
}

func (b *Batch) reset() {
	b.Tokens, b.Positions, b.Targets, b.Weights = b.Tokens[:0], b.Positions[:0], b.Targets[:0], b.Weights[:0]
	b.Cu, b.Lens, b.Rows = append(b.Cu[:0], 0), b.Lens[:0], b.Rows[:0]
	b.MaxLen, b.Trained, b.Padding, b.weighted = 0, 0, 0, false
	b.Indices, b.Prompt, b.Desirable = b.Indices[:0], b.Prompt[:0], b.Desirable[:0]
}

// TargetPrompts gives the tokens of the prompts of the first n sequences targets as well, and marks them in Prompt.
func (b *Batch) TargetPrompts(n int) {
	b.Prompt = append(b.Prompt[:0], make([]bool, len(b.Tokens))...)
	for s := range n {
		for i := b.Cu[s]; i < b.Cu[s]+b.Lens[s]-1; i++ {
			if b.Targets[i] == IgnoreIndex {
				b.Targets[i], b.Prompt[i] = b.Tokens[i+1], true
				b.Trained++
				if len(b.Weights) > 0 {
					b.Weights[i] = 1
				}
			}
		}
	}
}

// TargetLast leaves each answer one target, at the last token other than pad of its prompt and itself, or at the first token if
// all are pad: where transformers' classes …ForSequenceClassification read a sequence's score.
func (b *Batch) TargetLast(pad int32) {
	b.Weights = b.Weights[:0]
	if b.Shared != nil {
		b.targetLastShared(pad)
		return
	}
	for i := range b.Targets {
		b.Targets[i] = IgnoreIndex
	}
	for s := range b.Lens {
		at := max(b.Cu[s], b.lastOther(pad, s))
		b.Targets[at] = b.Tokens[at]
	}
	b.Trained = b.Sequences()
}

func (b *Batch) targetLastShared(pad int32) {
	s, n := b.Shared, b.Pairs()
	s.LossRows, s.LossTargets, s.LossAnswers = s.LossRows[:0], s.LossTargets[:0], s.LossAnswers[:0]
	for answer := range 2 * n {
		prompt := 3 * (answer % n)
		at := b.lastOther(pad, prompt+1+answer/n)
		if at < 0 {
			at = max(b.Cu[prompt], b.lastOther(pad, prompt))
		}
		s.LossRows, s.LossTargets, s.LossAnswers = append(s.LossRows, at), append(s.LossTargets, b.Tokens[at]), append(s.LossAnswers, int32(answer))
	}
	b.Trained = 2 * n
}

// lastOther finds the last token of sequence s that is not pad, −1 if there is none.
func (b *Batch) lastOther(pad int32, s int) int32 {
	for at := b.Cu[s+1] - 1; at >= b.Cu[s]; at-- {
		if b.Tokens[at] != pad {
			return at
		}
	}
	return -1
}

// Sequences is the number of sequences S.
func (b *Batch) Sequences() int { return len(b.Lens) }

// add appends a document and pads it to stride tokens (0: not at all).
func (b *Batch) add(doc []uint32, ref Ref, stride int, padID int32) {
	for i, t := range doc {
		b.Tokens = append(b.Tokens, tokenID(t))
		b.Positions = append(b.Positions, int32(i))
		target, weight := int32(IgnoreIndex), float32(0)
		if i+1 < len(doc) {
			if code := tokenCode(doc[i+1]); code != 0 {
				target, weight = tokenID(doc[i+1]), float32(code)/weightUnit
				b.Trained++
				b.weighted = b.weighted || code != weightOne
			}
		}
		b.Targets, b.Weights = append(b.Targets, target), append(b.Weights, weight)
	}
	for i := len(doc); i < stride; i++ {
		b.Tokens, b.Positions = append(b.Tokens, padID), append(b.Positions, int32(i))
		b.Targets, b.Weights = append(b.Targets, IgnoreIndex), append(b.Weights, 0)
		b.Padding++
	}
	b.MaxLen = max(b.MaxLen, len(doc), stride)
	b.Cu = append(b.Cu, int32(len(b.Tokens)))
	b.Lens, b.Rows = append(b.Lens, int32(len(doc))), append(b.Rows, ref)
}

// finish drops the weights when all are 1.
func (b *Batch) finish() {
	if !b.weighted {
		b.Weights = b.Weights[:0]
	}
}
