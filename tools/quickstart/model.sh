#!/bin/sh
# Makes the files of testdata/quickstart anew: writes the stories and questions, learns a tokenizer, trains the model from
# scratch (a few minutes on two cores) and puts all of it in place. With --check nothing is put in place: the new files must
# equal those of the repository to the byte, which they do on the instruction set named in testdata/quickstart/made-on.txt.
# Run it by `make quickstart-model` or `make quickstart-model-check`, which build bin/mltrain first.
set -eu
cd "$(dirname "$0")/../.."
work=runs/quickstart-model
home=testdata/quickstart
texts="train.jsonl heldout.jsonl questions.tsv"
model="config.json chat_template.jinja tokenizer.json tokenizer_config.json model.safetensors metrics.jsonl"

rm -rf "$work"
go run ./tools/quickstart/*.go "$work"
./bin/mltrain tokenizer train --data "$work/stories.jsonl" --vocab-size 448 --output "$work/start" \
	--special-token '<|system|>' --special-token '<|user|>' --special-token '<|assistant|>'
cp tools/quickstart/config.json tools/quickstart/chat_template.jinja "$work/start"
./bin/mltrain pretrain -c configs/quickstart-pretrain.yaml 2>&1 | tee "$work/log.txt"
# Speeds and times are no part of what is reproduced.
sed -i.bak -E 's/,?"(tokens_per_second|eval_runtime|eval_samples_per_second)":[0-9.e+-]+//g; s/\{,/{/' "$work/model/metrics.jsonl"
sed -n 's/^device *//p' "$work/log.txt" >"$work/made-on.txt"
(cd "$work" && sha256sum stories.jsonl $texts && cd model && sha256sum $model) >"$work/SHA256SUMS"

if [ "${1:-}" = --check ]; then
	if ! cmp "$work/made-on.txt" "$home/made-on.txt"; then
		echo "this machine computes by other instructions; the bytes are not compared"
		exit 0
	fi
	cmp "$work/SHA256SUMS" "$home/SHA256SUMS"
	echo "equal to the byte"
	exit 0
fi
mkdir -p "$home/model"
for f in $texts made-on.txt SHA256SUMS; do cp "$work/$f" "$home"; done
for f in $model; do cp "$work/model/$f" "$home/model"; done
