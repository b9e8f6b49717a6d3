package autograd

import "testing"

// A plan is made for the most rows: no smaller number may need more room for its logits.
func TestHeadRoomCoversFewerRows(t *testing.T) {
	for _, vocab := range []int{50304, 128256, 600000} {
		before := 0
		for rows := 1; rows < 3000; rows++ {
			room := headRoom(rows, vocab)
			if room < before || headChunk(rows, vocab) > room {
				t.Fatalf("vocabulary of %d: %d rows have room for %d, fewer for %d, and chunks of %d", vocab, rows, room, before, headChunk(rows, vocab))
			}
			before = room
		}
	}
}
