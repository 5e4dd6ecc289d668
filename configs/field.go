package configs

import (
	"reflect"
	"strings"
	"time"
)

// field is one key and the place in a struct where its value goes.
type field struct {
	key    string // stream.max_age
	flag   string // name of its flag; empty: none
	secret string // "url": one that may hold a password; "value": nothing of it is shown
	value  reflect.Value
}

// environment returns the key's name in the environment.
func (f field) environment() string {
	return prefix + strings.ToUpper(strings.ReplaceAll(f.key, ".", "_"))
}

// kind names what the field takes, as --help shows it.
func (f field) kind() string {
	switch f.value.Interface().(type) {
	case bool:
		return "bool"
	case int:
		return "number"
	case time.Duration:
		return "duration"
	case Bytes:
		return "size"
	case []string:
		return "list"
	}
	return "string"
}

// fieldsOf lists every key of a configuration, in the order of the struct.
func fieldsOf(config any) []field {
	return appendFields(nil, "", reflect.ValueOf(config).Elem())
}

func appendFields(fields []field, prefix string, v reflect.Value) []field {
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		key, option, _ := strings.Cut(tag.Get("yaml"), ",")
		switch {
		case option == "inline":
			fields = appendFields(fields, prefix, v.Field(i))
		case v.Field(i).Kind() == reflect.Struct:
			fields = appendFields(fields, prefix+key+".", v.Field(i))
		default:
			fields = append(fields, field{
				key:    prefix + key,
				flag:   tag.Get("flag"),
				secret: tag.Get("secret"),
				value:  v.Field(i),
			})
		}
	}
	return fields
}
