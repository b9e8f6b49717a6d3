package judge

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// DefaultRubric is what answers are judged by unless another rubric is given.
const DefaultRubric = "How well does the response help the person who asked? Weigh whether it is right, complete, to the point and clear."

// rubricPrompt asks for a score of 1 to scale.
func rubricPrompt(r Row, rubric string, scale int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Judge a response to a prompt by this rubric:\n\n%s\n\n", rubric)
	section(&b, "prompt", r.Prompt)
	if r.Reference != "" {
		section(&b, "reference answer", r.Reference)
	}
	section(&b, "response", r.Response)
	fmt.Fprintf(&b, "Do not let the length of the response sway you. Give your reasons in a few sentences. "+
		"Then end with a whole number from 1 (worst) to %d (best) in double square brackets, for example [[%d]].", scale, (scale+1)/2)
	return b.String()
}

// pairPrompt asks which of two responses is better, in the given order.
func pairPrompt(r Row, rubric string, swapped bool) string {
	first, second := r.Pair[0], r.Pair[1]
	if swapped {
		first, second = second, first
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Compare two responses to a prompt by this rubric:\n\n%s\n\n", rubric)
	section(&b, "prompt", r.Prompt)
	if r.Reference != "" {
		section(&b, "reference answer", r.Reference)
	}
	section(&b, "response A", first)
	section(&b, "response B", second)
	b.WriteString("Do not let the order or the length of the responses sway you. Give your reasons in a few sentences. " +
		"Then end with [[A]] if response A is better, [[B]] if response B is better, or [[C]] if neither is.")
	return b.String()
}

func section(b *strings.Builder, name, text string) {
	fmt.Fprintf(b, "<%s>\n%s\n</%s>\n\n", name, text, name)
}

var verdictPattern = regexp.MustCompile(`\[\[\s*([^\[\]]{1,16}?)\s*\]\]`)

// lastVerdict is what stands in the last double brackets of a reply.
func lastVerdict(reply string) (string, error) {
	all := verdictPattern.FindAllStringSubmatch(reply, -1)
	if all == nil {
		return "", fmt.Errorf("its reply has no verdict in [[ ]]: %q", tail(reply))
	}
	return all[len(all)-1][1], nil
}

func tail(s string) string {
	if r := []rune(s); len(r) > 80 {
		return "…" + string(r[len(r)-80:])
	}
	return s
}

// parseScore reads a score of 1 to scale.
func parseScore(reply string, scale int) (float64, error) {
	text, err := lastVerdict(reply)
	if err != nil {
		return 0, err
	}
	score, err := strconv.ParseFloat(text, 64)
	if err != nil || !(score >= 1 && score <= float64(scale)) {
		return 0, fmt.Errorf("its verdict is [[%s]], not a number from 1 to %d", text, scale)
	}
	return score, nil
}

// parseWinner reads A, B or C (neither).
func parseWinner(reply string) (string, error) {
	text, err := lastVerdict(reply)
	if err != nil {
		return "", err
	}
	switch text = strings.ToUpper(text); text {
	case "A", "B", "C":
		return text, nil
	case "TIE":
		return "C", nil
	}
	return "", fmt.Errorf("its verdict is [[%s]], not A, B or C", text)
}
