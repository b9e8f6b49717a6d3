module github.com/mltrain/mltrain/internal/cpu/vec/_generate

go 1.26.0
