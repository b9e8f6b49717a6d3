package tokenizer

func loadSentencePiece(config *Config, paths ...string) (*Tokenizer, error) {
	return nil, ErrUnsupported
}
