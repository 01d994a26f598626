package analyzer

import (
	"testing"
	"time"
)

func BenchmarkAdvice(b *testing.B) {
	linux := end{ttl: 64, timestamps: true}
	b.ReportAllocs()
	for b.Loop() {
		advised(22, "ssh", 41*time.Second, 7200*time.Second, [2]end{linux, linux})
	}
}
