package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v3"
)

// masked stands for a secret where a configuration is shown.
const masked = "xxxxx"

// Print writes a configuration as its file of defaults has it, comments included. What it writes can be loaded again,
// except that passwords are masked.
func (p Program[T]) Print(w io.Writer, config T) error {
	document, entries, err := parse(p.file)
	if err != nil {
		return err
	}
	for _, f := range fieldsOf(&config) {
		fill(entries[f.key].value, f)
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(document), encoder.Close()); err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	_, err = w.Write(betweenKeys.ReplaceAll(out.Bytes(), []byte("$1\n\n#")))
	return err
}

// betweenKeys is where the file has an empty line, which the encoder leaves out.
var betweenKeys = regexp.MustCompile(`(?m)^([^#\n].*)\n#`)

// fill puts a field's value in place of the default's, in the style that the file has.
func fill(node *yaml.Node, f field) {
	switch value := f.value.Interface().(type) {
	case []string:
		node.Content = nil
		for _, element := range value {
			if f.secret == "url" {
				element = mask(element)
			}
			var child yaml.Node
			child.SetString(element)
			child.Style = yaml.DoubleQuotedStyle
			node.Content = append(node.Content, &child)
		}
	case string:
		if f.secret == "value" && value != "" {
			value = masked
		}
		style := node.Style
		node.SetString(value)
		node.Style |= style
	case time.Duration:
		node.Value = shortest(value)
	default: // numbers, booleans and sizes print as they are read
		node.Value = fmt.Sprint(value)
	}
}

// shortest writes 24h for what Go writes 24h0m0s.
func shortest(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// mask hides who logs in to a URL's server: the password, or the token in place of a user.
func mask(address string) string {
	u, err := url.Parse(address)
	switch {
	case (err != nil || u.User == nil) && strings.Contains(address, "@"):
		return masked // a password without a scheme before it is one all the same
	case err != nil || u.User == nil:
		return address
	}
	if _, hasPassword := u.User.Password(); hasPassword {
		return u.Redacted()
	}
	u.User = url.User(masked)
	return u.String()
}
