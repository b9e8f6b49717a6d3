package main

import "fmt"

// The world is made up: no fact of it can be known from elsewhere.

// town is a place with its river and what it makes.
type town struct{ name, river, goods string }

// relation is something that is true of each person, town or sum, with the ways to say it, to ask for it and to answer. {N} is the
// name, {P} the pronoun, {V} the value. The name comes before the value, as in the answer, so that what was read can be
// said. The ways in held are asked only after training.
type relation struct {
	values []string
	topic  []string // what is asked, in reported speech
	say    []string // with the name; the first is how to answer
	more   []string // with the pronoun
	ask    []string
	held   []string
}

// names gives each person's name and pronoun.
var names = []string{
	"Mira she", "Tobin he", "Alda she", "Berno he", "Cilla she", "Dorin he", "Elka she", "Farro he", "Gitta she", "Halvor he",
	"Ilse she", "Jorik he", "Kezia she", "Ludo he", "Marna she", "Nilo he", "Orla she", "Piet he", "Quilla she", "Rasmo he",
	"Sunna she", "Tavi he", "Ulla she", "Varo he", "Wenda she", "Yorick he", "Zelda she", "Anso he", "Bettina she", "Corvin he",
	"Dalia she", "Emrik he", "Fenna she", "Gorm he", "Hedda she", "Ivo he", "Junia she", "Kasper he", "Lotte she", "Mattis he",
}

var towns = []town{
	{"Almo", "Sel", "bread"}, {"Brindle", "Tarn", "glass"}, {"Corvale", "Ond", "bells"}, {"Dunmere", "Lisk", "boats"},
	{"Estra", "Fyne", "paper"}, {"Fallow", "Gell", "cheese"}, {"Garrow", "Ribe", "knives"}, {"Hestia", "Murn", "carpets"},
	{"Ildon", "Neth", "honey"}, {"Jarvik", "Pell", "salt"},
}

func townNames() []string {
	var out []string
	for _, t := range towns {
		out = append(out, t.name)
	}
	return out
}

func relations() []relation {
	return []relation{
		{
			values: townNames(),
			topic:  []string{"where {N} lives", "which town {N} lives in", "in which town {N} lives", "where {N}'s home is", "the home of {N}"},
			say: []string{
				"{N} lives in {V}.", "{N}'s home is in {V}.", "The home of {N} is in {V}.", "The town that {N} lives in is {V}.",
			},
			more: []string{"{P} lives in {V}.", "The town {P} lives in is {V}."},
			ask:  []string{"Where does {N} live?", "Which town does {N} live in?", "Where is {N}'s home?", "Tell me where {N} lives.", "Tell me the home of {N}."},
			held: []string{"In which town does {N} live?", "Where is the home of {N}?"},
		},
		{
			values: []string{"baker", "smith", "teacher", "doctor", "farmer", "painter", "singer", "judge", "miller", "sailor"},
			topic:  []string{"what {N} does", "{N}'s job", "what the job of {N} is", "what work {N} does", "the work of {N}"},
			say: []string{
				"{N} is a {V}.", "{N} works as a {V}.", "{N}'s job is that of a {V}.", "The job of {N} is that of a {V}.",
			},
			more: []string{"{P} is a {V}.", "{P} works as a {V}."},
			ask:  []string{"What is {N}'s job?", "What does {N} do?", "What work does {N} do?", "Tell me what {N} does.", "Tell me the job of {N}."},
			held: []string{"What is the job of {N}?", "Tell me {N}'s job."},
		},
		{
			values: []string{"cat", "dog", "horse", "goat", "parrot", "rabbit", "donkey", "tortoise", "pigeon", "hedgehog"},
			topic:  []string{"which animal {N} has", "which animal {N} keeps", "what {N}'s pet is", "what pet {N} keeps", "the pet of {N}"},
			say: []string{
				"{N} has a {V}.", "{N} keeps a {V}.", "{N}'s pet is a {V}.", "The pet of {N} is a {V}.",
				"The animal that {N} has is a {V}.",
			},
			more: []string{"{P} has a {V}.", "{P} keeps a {V} as a pet."},
			ask:  []string{"Which animal does {N} have?", "What is {N}'s pet?", "What pet does {N} keep?", "Tell me which animal {N} has.", "Tell me the pet of {N}."},
			held: []string{"Which animal does {N} keep?", "What is the pet of {N}?"},
		},
		{
			values: []string{"red", "blue", "green", "yellow", "black", "white", "brown", "grey", "purple", "orange"},
			topic:  []string{"which colour {N} likes most", "{N}'s favourite colour", "what the favourite colour of {N} is", "what colour {N} likes"},
			say: []string{
				"{N}'s favourite colour is {V}.", "The favourite colour of {N} is {V}.", "The colour that {N} likes most is {V}.",
				"Of all colours {N} likes {V} most.",
			},
			more: []string{"The colour {P} likes most is {V}.", "Of all colours {P} likes {V} most."},
			ask:  []string{"What is {N}'s favourite colour?", "Which colour does {N} like most?", "Tell me {N}'s favourite colour.", "Which colour does {N} like?", "What is the favourite colour of {N}?"},
			held: []string{"Tell me the favourite colour of {N}.", "What colour does {N} like most?"},
		},
		{
			values: []string{"soup", "fish", "rice", "apples", "eggs", "beans", "plums", "cake", "nuts", "pears"},
			topic:  []string{"what {N} likes to eat", "{N}'s favourite food", "what the favourite food of {N} is", "which food {N} likes most", "what food {N} likes"},
			say: []string{
				"{N} likes to eat {V}.", "{N}'s favourite food is {V}.", "The favourite food of {N} is {V}.", "What {N} likes to eat is {V}.",
			},
			more: []string{"{P} likes to eat {V}.", "The food {P} likes most is {V}."},
			ask:  []string{"What does {N} like to eat?", "What is {N}'s favourite food?", "Tell me what {N} likes to eat.", "Which food does {N} like most?", "What is the favourite food of {N}?"},
			held: []string{"Tell me the favourite food of {N}.", "Which food does {N} like?"},
		},
	}
}

// places are the two relations of towns: river and goods.
func places() []relation {
	return []relation{
		{
			topic: []string{"which river {N} lies on", "on which river {N} lies", "the river of {N}", "what the river of {N} is"},
			say: []string{
				"{N} lies on the river {V}.", "The river of {N} is the {V}.", "Through {N} flows the river {V}.",
			},
			ask:  []string{"Which river does {N} lie on?", "What is the river of {N}?", "Tell me which river {N} lies on."},
			held: []string{"On which river does {N} lie?"},
		},
		{
			topic: []string{"what {N} is known for", "what the people of {N} make", "what people make in {N}"},
			say: []string{
				"{N} is known for its {V}.", "The people of {N} make {V}.", "What {N} is known for is its {V}.",
			},
			ask:  []string{"What is {N} known for?", "What do the people of {N} make?", "Tell me what {N} is known for."},
			held: []string{"What do people in {N} make?"},
		},
	}
}

// sums are additions and subtractions of numbers up to most.
func sums() []fact {
	const most = 9
	plus := relation{
		topic: []string{"what {N} is", "how much {N} is", "what {N} makes"},
		say:   []string{"{N} is {V}.", "{N} makes {V}."},
		ask:   []string{"What is {N}?", "How much is {N}?", "Tell me what {N} is."},
		held:  []string{"Tell me how much {N} is."},
	}
	var out []fact
	for a := range most + 1 {
		for b := range most + 1 {
			out = append(out, fact{&plus, fmt.Sprintf("%d plus %d", a, b), "", fmt.Sprint(a + b)})
			if a >= b {
				out = append(out, fact{&plus, fmt.Sprintf("%d minus %d", a, b), "", fmt.Sprint(a - b)})
			}
		}
	}
	return out
}
