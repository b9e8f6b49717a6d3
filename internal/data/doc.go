// Package data turns files of rows into token batches: it reads JSONL, JSON, CSV, Parquet and text files, recognises the
// shape of their rows, renders and tokenises them, marks the tokens that are trained, truncates, mixes, shuffles, packs
// and batches. What reaches the model is what TRL and transformers would feed it, or an error.
//
// # Which tokens are trained
//
//   - text rows train every token, and end with EOS, which is trained.
//   - messages (and ShareGPT conversations) train every token of the rendered chat, unless Options.AssistantOnlyLoss: then
//     only what the assistant says, as the template's spans tell. A row in which some message carries a loss weight
//     (loss_weight, weight, train) trains the assistant's messages only, each scaled by its weight.
//   - prompt/completion rows train the completion, unless Options.CompletionOnlyLoss is false. The completion begins at
//     the first token in which the tokenised prompt and the tokenised prompt+completion differ, so that a token that
//     straddles the boundary belongs to the completion (TRL's rule).
//   - Alpaca rows are prompt/completion rows: a user message (instruction, newline, input) and the assistant's output,
//     rendered by the chat template.
//   - A text file is one document, cut into windows of max_length tokens; a blank line means nothing special.
//
// A token that lies in an assistant span by at least one byte is trained, as in transformers' assistant masks; such
// straddling tokens are counted in the ledger. The first token of a document is never a target. A row with no target left is
// dropped and counted; if all rows are, that is an error.
//
// # Special tokens
//
// Plain text is tokenised with the tokenizer's special tokens (BOS where the tokenizer adds one) and EOS is appended
// unless it is there already. A rendered chat is tokenised as a whole without added special tokens, as transformers'
// apply_chat_template does; EOS is appended only where the template leaves the last message without any end marker.
//
// # Order
//
// Everything that is random (shuffling, mixing, splitting) is a pure function of a seed and an epoch, and nothing depends on
// the number of goroutines, so that a run resumes from its counters alone.
package data
