package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"unicode/utf8"
)

// value is one JSON value without space around it, inside of a text that check has
// accepted. That proof is what lets all below be short: no index can run out of
// the text, no bracket is left open.
type value []byte

// check proves that text is UTF-8 and one JSON value. Nesting is bounded by
// encoding/json, far below what a stack can bear.
func check(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("not utf-8")
	}
	if json.Valid(text) {
		return nil
	}
	var whole json.RawMessage
	err := json.Unmarshal(text, &whole) // only to learn what is wrong, and where
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("not json at byte %d: %w", syntax.Offset, err)
	}
	return errors.New("not json")
}

// members walks the keys and values of an object, in order, the same key as often as it is there.
func members(object value) iter.Seq2[[]byte, value] {
	return func(yield func([]byte, value) bool) {
		rest := trim(object[1:])
		for rest[0] != '}' {
			n := stringLen(rest)
			key := unquote(value(rest[:n]))
			rest = trim(rest[n:])
			rest = trim(rest[1:]) // the colon
			n = valueLen(rest)
			if !yield(key, value(rest[:n])) {
				return
			}
			rest = next(rest[n:])
		}
	}
}

// elements walks the values of an array.
func elements(array value) iter.Seq2[int, value] {
	return func(yield func(int, value) bool) {
		rest := trim(array[1:])
		for i := 0; rest[0] != ']'; i++ {
			n := valueLen(rest)
			if !yield(i, value(rest[:n])) {
				return
			}
			rest = next(rest[n:])
		}
	}
}

// text is the string that v is; false: it is none.
func (v value) text() (string, bool) {
	if v[0] != '"' {
		return "", false
	}
	return string(unquote(v)), true
}

// integer is the number from 0 to 2^53 that v is, written with digits alone; false: it is none.
func (v value) integer() (uint64, bool) {
	var n uint64
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + uint64(c-'0'); n > maxInteger {
			return 0, false
		}
	}
	return n, true
}

// boolean is the truth that v is; false: it is none.
func (v value) boolean() (is, ok bool) {
	return v[0] == 't', v[0] == 't' || v[0] == 'f'
}

func (v value) isNull() bool { return v[0] == 'n' }

// short is v as one can repeat it to the client that sent it.
func (v value) short() string { return shorten(string(v)) }

// shorten cuts s, between two characters, to what fits in a sentence.
func shorten(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	n := most
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// unquote is what the string v means. Almost none has an escape, and then nothing is copied.
func unquote(v value) []byte {
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1]
	}
	var s string
	// Can't fail on what check accepted; half a surrogate pair becomes U+FFFD.
	_ = json.Unmarshal(v, &s)
	return []byte(s)
}

// valueLen is the length of the value at the start of text.
func valueLen(text []byte) int {
	switch text[0] {
	case '"':
		return stringLen(text)
	case '{', '[':
		depth := 0
		for i := 0; ; i++ {
			switch text[i] {
			case '"':
				i += stringLen(text[i:]) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	for i, c := range text {
		switch c {
		case ',', '}', ']', ' ', '\t', '\r', '\n':
			return i
		}
	}
	return len(text)
}

// stringLen is the length of the string at the start of text, with its quotes.
func stringLen(text []byte) int {
	for i := 1; ; i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// next goes over the comma after a value, if there is one.
func next(text []byte) []byte {
	text = trim(text)
	if text[0] == ',' {
		return trim(text[1:])
	}
	return text
}

// trim takes JSON's white space (RFC 8259 §2) off the start.
func trim(text []byte) []byte {
	for i, c := range text {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			return text[i:]
		}
	}
	return nil
}

// appendString appends s in quotes. What is not UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	clean := 0 // s[clean:i] needs no escape and is not copied yet
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, s[clean:i]...)
				dst = append(dst, "\ufffd"...)
				clean = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[clean:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		clean = i
	}
	dst = append(dst, s[clean:]...)
	return append(dst, '"')
}
