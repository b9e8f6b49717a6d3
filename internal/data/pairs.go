package data

import "fmt"

// PairExample is a prompt with a better and a worse answer, each cut so that it fits max_length together with the prompt.
// With truncation keep_end the answers may have room for different parts of the prompt: chosen's sequence is
// Prompt[ChosenFrom:] + Chosen, rejected's Prompt[RejectedFrom:] + Rejected. With keep_start both are 0.
type PairExample struct {
	Prompt, Chosen, Rejected []int32
	ChosenFrom, RejectedFrom int
	Ref                      Ref
}

// UnpairedExample is a prompt with an answer that is desirable or not.
type UnpairedExample struct {
	Prompt, Completion []int32
	Desirable          bool
	Ref                Ref
}

// Pair reads row i of a preference dataset.
func (d *Dataset) Pair(i int) (PairExample, error) {
	if d.objective != Preference {
		return PairExample{}, fmt.Errorf("%w: not a preference dataset", ErrOptions)
	}
	docs, err := d.docs(i)
	if err != nil {
		return PairExample{}, err
	}
	ex := PairExample{Prompt: idsOf(docs[0]), Ref: d.Ref(i)}
	var from, to int
	ex.ChosenFrom, from, to = clip(len(docs[0]), len(docs[1]), d.maxLength, d.keepEnd)
	ex.Chosen = idsOf(docs[1][from:to])
	ex.RejectedFrom, from, to = clip(len(docs[0]), len(docs[2]), d.maxLength, d.keepEnd)
	ex.Rejected = idsOf(docs[2][from:to])
	return ex, nil
}

// Unpaired reads row i of an unpaired (KTO) dataset.
func (d *Dataset) Unpaired(i int) (UnpairedExample, error) {
	if d.objective != Unpaired {
		return UnpairedExample{}, fmt.Errorf("%w: not an unpaired preference dataset", ErrOptions)
	}
	docs, err := d.docs(i)
	if err != nil {
		return UnpairedExample{}, err
	}
	prompt, from, to := clip(len(docs[0]), len(docs[1]), d.maxLength, d.keepEnd)
	return UnpairedExample{Prompt: idsOf(docs[0][prompt:]), Completion: idsOf(docs[1][from:to]),
		Desirable: tokenCode(docs[1][0]) == codeDesirable, Ref: d.Ref(i)}, nil
}

// docs reads the documents of row i.
func (d *Dataset) docs(i int) ([][]uint32, error) {
	row := d.at(i)
	stored, err := d.store.read(row, nil)
	if err != nil {
		return nil, err
	}
	var docs [][]uint32
	for _, n := range d.store.lens[row*d.store.arity:][:d.store.arity] {
		docs = append(docs, stored[:n])
		stored = stored[n:]
	}
	return docs, nil
}

func idsOf(tokens []uint32) []int32 {
	ids := make([]int32, len(tokens))
	for i, t := range tokens {
		ids[i] = tokenID(t)
	}
	return ids
}

// Indices lists the dataset's rows in a micro-batch of a loader without packing, in order.
func (l *Loader) Indices(epoch, i int) ([]int32, error) {
	if l.opt.Packing != NoPacking {
		return nil, fmt.Errorf("%w: a packed micro-batch is no list of rows", ErrOptions)
	}
	return l.unitsOf(epoch, i)
}

// FillPairs lays out n pairs as 2n sequences: all prompt+chosen, then all prompt+rejected (TRL's order). Targets are the
// answers' tokens alone. Padding is as the loader's options say.
func (l *Loader) FillPairs(b *Batch, epoch, i int) error {
	if l.ds.objective != Preference {
		return fmt.Errorf("%w: not a preference dataset", ErrOptions)
	}
	rows, err := l.Indices(epoch, i)
	if err != nil {
		return err
	}
	var answers []answer
	for k := 1; k <= 2; k++ {
		for _, row := range rows {
			answers = append(answers, answer{int(row), int(row), k})
		}
	}
	return l.addAnswers(b, answers)
}

// FillUnpaired lays out n labelled answers as n sequences and tells which of them are desirable (into labels). kl gets the
// mismatched pairs of KTO's reference point: prompt s with the answer before it, the first with the last (TRL); it may be
// nil.
func (l *Loader) FillUnpaired(b, kl *Batch, labels []bool, epoch, i int) ([]bool, error) {
	if l.ds.objective != Unpaired {
		return nil, fmt.Errorf("%w: not an unpaired preference dataset", ErrOptions)
	}
	rows, err := l.Indices(epoch, i)
	if err != nil {
		return nil, err
	}
	labels = labels[:0]
	var matched, mismatched []answer
	for k, row := range rows {
		ex, err := l.ds.Unpaired(int(row))
		if err != nil {
			return nil, err
		}
		labels = append(labels, ex.Desirable)
		matched = append(matched, answer{int(row), int(row), 1})
		mismatched = append(mismatched, answer{int(row), int(rows[(k+len(rows)-1)%len(rows)]), 1})
	}
	if err := l.addAnswers(b, matched); err != nil {
		return labels, err
	}
	b.Desirable = append(b.Desirable, labels...)
	if kl == nil {
		return labels, nil
	}
	return labels, l.addAnswers(kl, mismatched)
}

// answer is one sequence of a preference batch: a row's prompt and document k of a row.
type answer struct{ prompt, row, k int }

// addAnswers fills b with sequences, padded to the longest unless the loader is padding-free.
func (l *Loader) addAnswers(b *Batch, answers []answer) error {
	b.reset()
	b.Shared = nil
	s, stride := l.ds.store, 0
	if !l.opt.PaddingFree {
		for _, a := range answers {
			n := int(s.lens[l.ds.at(a.prompt)*s.arity] + s.lens[l.ds.at(a.row)*s.arity+a.k])
			stride = max(stride, min(n, l.ds.maxLength))
		}
	}
	for _, a := range answers {
		prompts, err := l.ds.docs(a.prompt)
		if err != nil {
			return err
		}
		docs := prompts
		if a.row != a.prompt {
			if docs, err = l.ds.docs(a.row); err != nil {
				return err
			}
		}
		p, from, to := clip(len(prompts[0]), len(docs[a.k]), l.ds.maxLength, l.ds.keepEnd)
		b.stored = append(b.stored[:0], prompts[0][p:]...)
		for _, t := range docs[a.k][from:to] {
			b.stored = append(b.stored, packToken(tokenID(t), weightOne))
		}
		b.add(b.stored, l.ds.Ref(a.row), stride, l.ds.padID)
		b.Indices = append(b.Indices, int32(a.row))
	}
	b.finish()
	return nil
}
