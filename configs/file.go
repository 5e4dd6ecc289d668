package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	yaml "go.yaml.in/yaml/v3"
)

// maxFile bounds a configuration file, in bytes: a device or a wrong path shall not fill the memory.
const maxFile = 1 << 20

func readFile(path string) ([]byte, map[string]entry, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(content) > maxFile {
		return nil, nil, fmt.Errorf("%s is larger than %s", path, Bytes(maxFile))
	}
	_, entries, err := parse(content)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return content, entries, nil
}

// parse reads a file as YAML nodes, which know their lines and comments, and lists its keys as a.b.c. An empty file has none.
func parse(content []byte) (*yaml.Node, map[string]entry, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	entries := map[string]entry{}
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return &document, entries, nil
	case err != nil:
		return nil, nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("is more than one YAML document")
	}
	// Decoding into a map as well refuses keys that stand there twice, and what has no plain form (cycles of aliases).
	if err := document.Decode(&map[string]any{}); err != nil {
		return nil, nil, err
	}
	collect(entries, "", document.Content[0])
	return &document, entries, nil
}

// collect lists the keys below a mapping. A section is an entry too, if it is empty or no section at all.
func collect(entries map[string]entry, prefix string, mapping *yaml.Node) {
	if mapping.Kind == yaml.AliasNode {
		mapping = mapping.Alias
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		found := entry{key: mapping.Content[i], value: mapping.Content[i+1]}
		if found.isSection() && len(found.value.Content) > 0 {
			collect(entries, prefix+found.key.Value+".", found.value)
			continue
		}
		entries[prefix+found.key.Value] = found
	}
}

func (e entry) isSection() bool {
	if e.value == nil {
		return false
	}
	if e.value.Kind == yaml.AliasNode {
		return e.value.Alias.Kind == yaml.MappingNode
	}
	return e.value.Kind == yaml.MappingNode
}
