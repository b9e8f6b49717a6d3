module github.com/mltrain/mltrain/internal/cpu/gemm/_generate

go 1.26.0
