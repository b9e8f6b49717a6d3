module github.com/mltrain/mltrain/bench/gemm

go 1.26.0

require github.com/mltrain/mltrain v0.0.0

require golang.org/x/sys v0.50.0

replace github.com/mltrain/mltrain => ../..
