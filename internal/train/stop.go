package train

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"github.com/mltrain/mltrain/internal/tokenizer"
)

// StopTokens lists the tokens that end generation: those of generation_config.json, of config.json, and the tokenizer's
// end of sequence.
func StopTokens(modelDir string, tok *tokenizer.Tokenizer) []int32 {
	var ids []int32
	add := func(id int32) {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, name := range []string{"generation_config.json", "config.json"} {
		var c struct {
			EOS json.RawMessage `json:"eos_token_id"`
		}
		raw, err := os.ReadFile(filepath.Join(modelDir, name))
		if err != nil || json.Unmarshal(raw, &c) != nil {
			continue
		}
		var one int32
		var many []int32
		if json.Unmarshal(c.EOS, &one) == nil {
			add(one)
		} else if json.Unmarshal(c.EOS, &many) == nil {
			for _, id := range many {
				add(id)
			}
		}
	}
	if id, ok := tok.EOS(); ok {
		add(id)
	}
	return ids
}
