package auth

import "testing"

// BenchmarkVerify is what a token costs, on one core, with a key of each kind configured.
func BenchmarkVerify(b *testing.B) {
	v := verifier(b, all(b))
	for _, algorithm := range Algorithms {
		token := sign(b, algorithm, signer(algorithm), nil)
		b.Run(algorithm, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
