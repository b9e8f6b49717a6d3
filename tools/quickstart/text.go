package main

import (
	"fmt"
	"strings"
)

// fact is a value of a relation for one name.
type fact struct {
	relation             *relation
	name, pronoun, value string
}

// fill puts a fact into a wording.
func (f fact) fill(wording string) string {
	s := strings.NewReplacer("{N}", f.name, "{P}", f.pronoun, "{V}", f.value).Replace(wording)
	return strings.ToUpper(s[:1]) + s[1:]
}

// world is every fact, by what it is about.
type world struct {
	people, places [][]fact
	sums           []fact
}

// newWorld draws the people's values; each value of a relation goes to about as many people as any other.
func newWorld(r *random) *world {
	w := &world{sums: sums()}
	rel, pl := relations(), places()
	w.people = make([][]fact, len(names))
	for k := range rel {
		values := make([]string, len(names))
		for i := range values {
			values[i] = rel[k].values[i%len(rel[k].values)]
		}
		shuffle(r, values)
		for i, n := range names {
			name, pronoun, _ := strings.Cut(n, " ")
			w.people[i] = append(w.people[i], fact{&rel[k], name, pronoun, values[i]})
		}
	}
	for _, t := range towns {
		w.places = append(w.places, []fact{{&pl[0], t.name, "", t.river}, {&pl[1], t.name, "", t.goods}})
	}
	return w
}

// facts lists all of them.
func (w *world) facts() []fact {
	var out []fact
	for _, list := range w.people {
		out = append(out, list...)
	}
	for _, list := range w.places {
		out = append(out, list...)
	}
	return append(out, w.sums...)
}

type story struct {
	Text string `json:"text"`
}

// reports are ways to say that something was asked.
func reports() []string {
	return []string{
		"Somebody asked %s.", "A child wants to know %s.", "We talk about %s.", "The teacher asks %s.", "People asked %s, and this is true:",
	}
}

// stories tells of people, pairs of people, towns, numbers, and questions about them.
func (w *world) stories(r *random) []any {
	out := make([]any, storyCount)
	for i := range out {
		var s []string
		switch r.below(12) {
		case 0: // two people in turn
			a, b := w.shuffled(r), w.shuffled(r)
			s = append(s, one(r, []string{a[0].name + " and " + b[0].name + " are friends.", "Here is what people say of " + a[0].name + " and " + b[0].name + "."}))
			for k := range 3 {
				s = append(s, a[k].fill(one(r, a[k].relation.say)), b[k].fill(one(r, b[k].relation.say)))
			}
		case 1: // two towns
			for range 2 {
				list := one(r, w.places)
				first := r.below(2)
				for _, f := range []fact{list[first], list[1-first]} {
					s = append(s, f.fill(one(r, f.relation.say)))
				}
			}
		case 2, 3: // numbers
			for range 5 + r.below(4) {
				f := one(r, w.sums)
				s = append(s, f.fill(one(r, f.relation.say)))
			}
		case 4, 5, 6, 7: // questions in reported speech, with what was answered
			for range 2 + r.below(2) {
				f := one(r, one(r, w.people))
				switch r.below(8) {
				case 0, 1:
					f = one(r, one(r, w.places))
				case 2, 3:
					f = one(r, w.sums)
				}
				s = append(s, f.fill(fmt.Sprintf(one(r, reports()), one(r, f.relation.topic))), f.fill(f.relation.say[0]))
			}
		default: // one person, by name and then by pronoun too
			list := w.shuffled(r)
			for k, f := range list[:3+r.below(3)] {
				wording := one(r, f.relation.say)
				if k > 0 && r.below(3) == 0 {
					wording = one(r, f.relation.more)
				}
				s = append(s, f.fill(wording))
			}
		}
		// Each sentence begins a line: its first word has the tokens that it has in an answer, without a space before it.
		out[i] = story{strings.Join(s, "\n")}
	}
	return out
}

// shuffled is somebody's facts in random order.
func (w *world) shuffled(r *random) []fact {
	list := append([]fact(nil), one(r, w.people)...)
	shuffle(r, list)
	return list
}

// question is a fact asked for.
type question struct {
	prompt, answer string
	wording        string // seen: train.jsonl asks for other facts in these words; new: it does not
	kind           *relation
}

// questions parts the facts into those that are asked for in training and those that are not; the latter are asked for in a
// wording of the training set and in all others.
func (w *world) questions(r *random) (train, held []question) {
	for _, f := range w.facts() {
		ask := append([]string(nil), f.relation.ask...)
		shuffle(r, ask)
		q := func(wording, which string) question {
			return question{f.fill(wording), f.fill(f.relation.say[0]), which, f.relation}
		}
		if r.below(10) < heldOutOfTen {
			held = append(held, q(ask[0], "seen"))
			for _, wording := range f.relation.held {
				held = append(held, q(wording, "new"))
			}
			continue
		}
		for _, wording := range ask[:waysPerFact] {
			train = append(train, q(wording, "seen"))
		}
	}
	return train, held
}

// pick takes a question of each relation to show, in turn in new words and in words of the training set.
func pick(held []question, r *random) []question {
	list := append([]question(nil), held...)
	shuffle(r, list)
	var out []question
	taken := map[*relation]bool{}
	for _, q := range list {
		if want := []string{"new", "seen"}[len(out)%2]; !taken[q.kind] && q.wording == want {
			out, taken[q.kind] = append(out, q), true
		}
	}
	return out
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type chat struct {
	Messages []message `json:"messages"`
	Wording  string    `json:"wording,omitempty"`
}

func (q question) messages() []message {
	return []message{{"user", q.prompt}, {"assistant", q.answer}}
}

// chats makes conversations of one to six questions each.
func chats(list []question, r *random) []any {
	list = append([]question(nil), list...)
	shuffle(r, list)
	var out []any
	for len(list) > 0 {
		n := min(len(list), 1+r.below(6))
		var c chat
		for _, q := range list[:n] {
			c.Messages = append(c.Messages, q.messages()...)
		}
		out, list = append(out, c), list[n:]
	}
	return out
}

// singles makes a conversation of each question.
func singles(list []question) []any {
	out := make([]any, len(list))
	for i, q := range list {
		out[i] = chat{q.messages(), q.wording}
	}
	return out
}
