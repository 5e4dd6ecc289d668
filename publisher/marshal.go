package publisher

import (
	"bytes"
	"encoding/json"
)

// marshal is json.Marshal without its escapes for HTML pages, which are six bytes
// for each < in a command or label, and nothing that a screen needs.
func marshal(payload any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(payload); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
