// Package tokenizer turns text into token ids and back, exactly as Hugging Face's Rust library
// `tokenizers` does (reference: github.com/huggingface/tokenizers 0.23), or it returns an error.
//
// A tokenizer is a pipeline, described by a tokenizer.json file:
//
//	text → added tokens → normalizer → added tokens → pre-tokenizer → model → truncation → post-processor → padding
//	ids  → tokens → decoder → text
//
// Load reads a model directory (tokenizer.json, or a SentencePiece .model, or vocab.json with merges.txt, plus
// tokenizer_config.json, special_tokens_map.json and chat templates); FromJSON reads the bytes of one tokenizer.json.
// Whatever a file says and this package does not know is an error that names it by its JSON path. Nothing is ignored
// in silence.
//
//	tok, err := tokenizer.Load("path/to/model")
//	ids, err := tok.AppendIDs(nil, "Hello", true)                            // ids only, the fast path
//	enc, err := tok.Encode("Hello", tokenizer.EncodeOptions{AddSpecialTokens: true}) // with offsets and masks
//	text := tok.Decode(ids, true)
//	stream := tok.NewDecodeStream(true)                                       // text while ids are being generated
//
// A Tokenizer never changes after loading, and all its methods may be called by many goroutines at once. Offsets
// are byte offsets into the text that was given. Text must be valid UTF-8.
//
// Truncation and padding settings found in a tokenizer.json are honoured by Encode, EncodePair and AppendIDs;
// WithoutLimits gives a copy that has neither, which is what training wants.
//
// TrainBPE learns a byte-level BPE tokenizer and returns the bytes of a tokenizer.json.
package tokenizer
