package docker

import "strings"

const (
	// labelProtected on a container, with the value true, refuses all actions on it.
	labelProtected = "tidings.protected"
	// labelComponent is on the containers of Tidings itself, whatever its value:
	// our images have it, and a deployment puts it on its NATS.
	labelComponent = "tidings.component"

	// maxLabel bounds a published value, in bytes: one container must not make
	// the list of all too large to publish.
	maxLabel = 1024
)

// allowList holds keys, and beginnings of keys with a * after them.
type allowList []string

// of is the part of labels that is allowed; nil if none is.
func (l allowList) of(labels map[string]string) map[string]string {
	var allowed map[string]string
	for key, value := range labels {
		if !l.allows(key) {
			continue
		}
		if allowed == nil {
			allowed = make(map[string]string)
		}
		if len(value) > maxLabel {
			value = strings.ToValidUTF8(value[:maxLabel], "")
		}
		allowed[key] = value
	}
	return allowed
}

func (l allowList) allows(key string) bool {
	for _, allowed := range l {
		beginning, isBeginning := strings.CutSuffix(allowed, "*")
		if key == allowed || isBeginning && strings.HasPrefix(key, beginning) {
			return true
		}
	}
	return false
}

// protects says whether actions on a container are refused: because its owner
// says so, or because it is Tidings itself, which would cut its own branch.
func (r recordReader) protects(id string, labels map[string]string) bool {
	_, component := labels[labelComponent]
	return labels[labelProtected] == "true" || component || r.self != "" && r.self == id
}
