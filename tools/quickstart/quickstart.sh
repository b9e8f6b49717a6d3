#!/bin/sh
# The quickstart: asks the small model of testdata/quickstart a few questions, fine-tunes it, and asks them again. The facts
# asked for are in the stories that the model was trained on, but not among the questions that it is fine-tuned on, and every
# other question is in words that it is not fine-tuned on. Run it by `make quickstart`, which builds bin/mltrain first.
set -eu
cd "$(dirname "$0")/../.."
questions=testdata/quickstart/questions.tsv
least=6 # right answers of 8; the reference run has all

# ask MODEL asks every question in a conversation of its own and counts the right answers.
ask() {
	right=0
	all=0
	while IFS="$(printf '\t')" read -r question answer; do
		said=$(printf '%s\n' "$question" | MLTRAIN_LOG=error ./bin/mltrain chat --model "$1" --temperature 0 --max-new-tokens 16)
		mark=' '
		if [ "$said" = "$answer" ]; then
			mark='*'
			right=$((right + 1))
		fi
		all=$((all + 1))
		printf '  %-42s %s %s\n' "$question" "$mark" "$(printf '%s' "$said" | tr '\n' ' ')"
	done <"$questions"
}

echo "Before fine-tuning, the model tells stories:"
ask testdata/quickstart/model
echo
./bin/mltrain sft -c configs/quickstart.yaml --overwrite
echo
echo "After fine-tuning (* is right):"
ask runs/quickstart
echo
echo "$right of $all are right. Ask it yourself: ./bin/mltrain chat --model runs/quickstart"
if [ "$right" -lt "$least" ]; then
	echo "error: at least $least should be right" >&2
	exit 1
fi
