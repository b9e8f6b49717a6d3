//go:build !noasm

#include "textflag.h"

// func maxAbsx512(x *float32, n int) float32
// A NaN is passed over: of two numbers VMAXPS returns the one named first here if one is NaN.
TEXT ·maxAbsx512(SB), NOSPLIT, $0-20
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	MOVL $0x7fffffff, AX
	VPBROADCASTD AX, Z3
	VPXORD Z0, Z0, Z0

loop:
	VPANDD (SI), Z3, Z1
	VMAXPS Z0, Z1, Z0
	ADDQ $64, SI
	SUBQ $16, CX
	JNZ loop
	VEXTRACTF64X4 $1, Z0, Y1
	VMAXPS Y1, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VMAXPS X1, X0, X0
	VPERMILPS $0x0e, X0, X1
	VMAXPS X1, X0, X0
	VPERMILPS $0x01, X0, X1
	VMAXPS X1, X0, X0
	VMOVSS X0, ret+16(FP)
	VZEROUPPER
	RET

// func toInt8x512(y *int8, x *float32, n int, k float32)
TEXT ·toInt8x512(SB), NOSPLIT, $0-28
	MOVQ y+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
	VBROADCASTSS k+24(FP), Z3
	MOVL $0x42fe0000, AX // 127
	VPBROADCASTD AX, Z4
	MOVL $0xc2fe0000, AX // −127
	VPBROADCASTD AX, Z5

loop:
	VMULPS (SI), Z3, Z0
	VMINPS Z4, Z0, Z0
	VMAXPS Z5, Z0, Z0
	VCVTPS2DQ Z0, Z0
	VPMOVDB Z0, (DI)
	ADDQ $64, SI
	ADDQ $16, DI
	SUBQ $16, CX
	JNZ loop
	VZEROUPPER
	RET
