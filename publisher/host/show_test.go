package host

import "encoding/json"

// show is a value as it goes over the wire, for messages of tests.
func show(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
