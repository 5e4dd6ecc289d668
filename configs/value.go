package configs

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// set turns a value as YAML, the environment or a flag has it into the field's type. It takes nothing for what it is
// not: no number for a duration, no true for 1.
func (f field) set(raw any) error {
	parsed, err := f.parse(raw)
	if err == nil {
		f.value.Set(reflect.ValueOf(parsed))
	}
	return err
}

func (f field) parse(raw any) (any, error) {
	list, isList := raw.([]any)
	if f.kind() == "list" {
		if isList {
			return texts(list)
		}
		return split(text(raw)), nil
	}
	if isList {
		return nil, fmt.Errorf("is a list, and takes a %s", f.kind())
	}
	s := text(raw)
	switch f.kind() {
	case "bool":
		switch s {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", s)
	case "number":
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, fmt.Errorf("%q is no whole number", s)
		}
		return n, nil
	case "duration":
		d, err := time.ParseDuration(s)
		switch _, bare := strconv.Atoi(s); {
		case bare == nil && s != "0":
			return nil, fmt.Errorf("%q has no unit: write %ss, %sms, %sm or %sh", s, s, s, s, s)
		case err != nil:
			return nil, fmt.Errorf("%q is no duration such as 500ms, 25s or 24h", s)
		}
		return d, nil
	case "size":
		return ParseBytes(s)
	}
	return s, nil
}

// text is how a scalar of YAML was written, near enough: viper has decoded it already.
func text(raw any) string {
	return strings.TrimSpace(fmt.Sprint(raw))
}

func texts(list []any) ([]string, error) {
	out := make([]string, len(list))
	for i, element := range list {
		switch element.(type) {
		case map[string]any, []any, nil:
			return nil, fmt.Errorf("entry %d of the list is no text", i+1)
		}
		out[i] = text(element)
	}
	return out, nil
}

// split reads a list as the environment and flags write it: a,b,c.
func split(s string) []string {
	out := []string{}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
