//go:build !noasm

#include "textflag.h"

// Indices that interleave two vectors: the lower halves, then the upper halves.
DATA nf4Lower<>+0(SB)/8, $0x0000001000000000
DATA nf4Lower<>+8(SB)/8, $0x0000001100000001
DATA nf4Lower<>+16(SB)/8, $0x0000001200000002
DATA nf4Lower<>+24(SB)/8, $0x0000001300000003
DATA nf4Lower<>+32(SB)/8, $0x0000001400000004
DATA nf4Lower<>+40(SB)/8, $0x0000001500000005
DATA nf4Lower<>+48(SB)/8, $0x0000001600000006
DATA nf4Lower<>+56(SB)/8, $0x0000001700000007
GLOBL nf4Lower<>(SB), RODATA|NOPTR, $64

DATA nf4Upper<>+0(SB)/8, $0x0000001800000008
DATA nf4Upper<>+8(SB)/8, $0x0000001900000009
DATA nf4Upper<>+16(SB)/8, $0x0000001a0000000a
DATA nf4Upper<>+24(SB)/8, $0x0000001b0000000b
DATA nf4Upper<>+32(SB)/8, $0x0000001c0000000c
DATA nf4Upper<>+40(SB)/8, $0x0000001d0000000d
DATA nf4Upper<>+48(SB)/8, $0x0000001e0000000e
DATA nf4Upper<>+56(SB)/8, $0x0000001f0000000f
GLOBL nf4Upper<>(SB), RODATA|NOPTR, $64

// func nf4x512(y *float32, codes *byte, n int, k float32, values *[16]float32)
// Sixteen bytes a turn: the values of the high halves and of the low halves, looked up in a register, times k, interleaved.
TEXT ·nf4x512(SB), NOSPLIT, $0-40
	MOVQ y+0(FP), DI
	MOVQ codes+8(FP), SI
	MOVQ n+16(FP), CX
	VBROADCASTSS k+24(FP), Z7
	MOVQ values+32(FP), AX
	VMULPS (AX), Z7, Z8
	VMOVDQU32 nf4Lower<>(SB), Z5
	VMOVDQU32 nf4Upper<>(SB), Z6

loop:
	VPMOVZXBD (SI), Z0
	VPSRLD $4, Z0, Z1
	VPERMPS Z8, Z1, Z2
	VPERMPS Z8, Z0, Z3
	VMOVAPS Z2, Z4
	VPERMT2PS Z3, Z5, Z2
	VPERMT2PS Z3, Z6, Z4
	VMOVUPS Z2, (DI)
	VMOVUPS Z4, 64(DI)
	ADDQ $16, SI
	ADDQ $128, DI
	SUBQ $16, CX
	JNZ loop
	VZEROUPPER
	RET

// func nf4x256(y *float32, codes *byte, n int, k float32, values *[16]float32)
// Eight bytes a turn. A register holds eight values, so each code is looked up among the lower and among the upper eight; its bit 3,
// shifted to the sign, chooses.
TEXT ·nf4x256(SB), NOSPLIT, $0-40
	MOVQ y+0(FP), DI
	MOVQ codes+8(FP), SI
	MOVQ n+16(FP), CX
	VBROADCASTSS k+24(FP), Y7
	MOVQ values+32(FP), AX
	VMULPS (AX), Y7, Y8
	VMULPS 32(AX), Y7, Y9

loop:
	VPMOVZXBD (SI), Y0
	VPSRLD $4, Y0, Y1
	VPSLLD $24, Y0, Y2
	VPSLLD $28, Y0, Y3
	VPERMPS Y8, Y1, Y4
	VPERMPS Y9, Y1, Y5
	VBLENDVPS Y2, Y5, Y4, Y4
	VPERMPS Y8, Y0, Y5
	VPERMPS Y9, Y0, Y6
	VBLENDVPS Y3, Y6, Y5, Y5
	VUNPCKLPS Y5, Y4, Y0
	VUNPCKHPS Y5, Y4, Y1
	VPERM2F128 $0x20, Y1, Y0, Y2
	VPERM2F128 $0x31, Y1, Y0, Y3
	VMOVUPS Y2, (DI)
	VMOVUPS Y3, 32(DI)
	ADDQ $8, SI
	ADDQ $64, DI
	SUBQ $8, CX
	JNZ loop
	VZEROUPPER
	RET
