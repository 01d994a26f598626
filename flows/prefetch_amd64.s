#include "textflag.h"

// func prefetch(r *record, n int)
TEXT ·prefetch(SB), NOSPLIT, $0-16
	MOVQ r+0(FP), AX
	MOVQ n+8(FP), CX
next:
	PREFETCHT0 (AX)
	PREFETCHT0 64(AX)
	ADDQ $256, AX
	DECQ CX
	JGT  next
	RET
