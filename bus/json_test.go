package bus

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestValidJSON_AgreesWithTheStandardLibrary(t *testing.T) {
	for _, s := range []string{
		"", " ", "1", "-", "-0", "01", "1.", "1.5", ".5", "1e", "1e5", "1E+5", "1e-", "1 2", "tru", "true", "trueq", "null", "nul", "false",
		`"`, `""`, `"a`, `"\`, `"\"`, `"\n"`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\u12aF"`, "\"\n\"", "\"\x1f\"", `"1234567\"90"`, `"12345678"`, "\"1234567\x01\"",
		"[", "]", "[]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1,2]", " [ 1 , 2 ] ", "[[]]", "[}", `{}`, `{`, `{"a"}`, `{"a":}`, `{"a":1`,
		`{"a":1,}`, `{"a":1,"b":[{"c":null}]}`, `{a:1}`, `{"a" : 1 , "b" : 2}`, `{"a":1}}`, `{,}`, "\v1", "\ufeff1", "NaN", "+1", "'a'", "-a", "1.e5", "--1",
		strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999),
		strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
		strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001),
		strings.Repeat(`{"a":`, 10_001) + "1" + strings.Repeat("}", 10_001),
	} {
		if got, want := validJSON([]byte(s)), json.Valid([]byte(s)); got != want {
			t.Errorf("%.60q: %v, want %v", s, got, want)
		}
	}
	for c := range 256 { // each byte at each place of a word
		for at := range 9 {
			s := []byte(`"12345678"`)
			s[at+1] = byte(c)
			if got, want := validJSON(s), json.Valid(s); got != want {
				t.Errorf("%q: %v, want %v", s, got, want)
			}
		}
	}
}

func FuzzValidJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,-2.5e+10,"\u00e9\\",true,false,null,{}]}`))
	f.Add([]byte("\"12345678\x00\""))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := validJSON(b), json.Valid(b); got != want {
			t.Errorf("%q: %v, want %v", b, got, want)
		}
	})
}

func BenchmarkValidJSON(b *testing.B) {
	payload := []byte(`[` + strings.Repeat(`{"device":"nvme0n1","readBytes":123456789,"ioTimeRatio":0.02,"name":"a b c d e f"},`, 20) + `null]`)
	for name, valid := range map[string]func([]byte) bool{"ours": validJSON, "encoding_json": json.Valid} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(payload)))
			for b.Loop() {
				if !valid(bytes.TrimSpace(payload)) {
					b.Fatal("not valid")
				}
			}
		})
	}
}
