package tokenizer

import (
	"slices"
	"testing"
)

func TestLoadStories(t *testing.T) {
	tok, err := Load(shared(t, "models", "stories260K"))
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := tok.BOS(); !ok || id != 1 {
		t.Errorf("BOS = %d, %v", id, ok)
	}
	if id, ok := tok.EOS(); !ok || id != 2 {
		t.Errorf("EOS = %d, %v", id, ok)
	}
	if n := tok.Config().ModelMaxLength; n != 512 {
		t.Errorf("model_max_length = %d", n)
	}
	if n := tok.VocabSize(); n != 512 {
		t.Errorf("vocabulary of %d", n)
	}
	ids, err := tok.AppendIDs(nil, "Once upon a time", true)
	if err != nil {
		t.Fatal(err)
	}
	if want := []int32{1, 403, 407, 261, 378}; !slices.Equal(ids, want) {
		t.Errorf("ids = %v, want %v", ids, want)
	}
}
