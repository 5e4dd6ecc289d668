package configs

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	yaml "go.yaml.in/yaml/v3"
)

//go:embed edge.yaml
var edgeFile []byte

//go:embed publisher.yaml
var publisherFile []byte

//go:embed tidings.yaml
var tidingsFile []byte

// The programs that are configured by this package.
var (
	ForEdge      = Program[Edge]{file: edgeFile, validate: Edge.validate}
	ForPublisher = Program[Publisher]{file: publisherFile, validate: Publisher.validate}
	ForTidings   = Program[Tidings]{file: tidingsFile, validate: Tidings.validate}

	// ForTokens reads the section tokens alone, of any of these programs' files.
	ForTokens = Program[TokensAlone]{file: edgeFile, validate: TokensAlone.validate, section: "tokens"}
)

// Program is the configuration of one program: its keys, defaults and flags.
type Program[T any] struct {
	file     []byte
	validate func(T, findings)
	section  string // the only one of the file that is read; empty: all
}

const configFlag = "config"

// AddFlags adds --config and a flag for each key that has one. What a flag means is what the comment in the file says.
func (p Program[T]) AddFlags(flags *pflag.FlagSet) {
	flags.String(configFlag, "", "YAML file with the keys that differ from the defaults ("+prefix+"CONFIG)")
	document := p.document()
	for _, f := range fieldsOf(new(T)) {
		if f.flag == "" {
			continue
		}
		entry := document[f.key]
		usage := fmt.Sprintf("%s (%s)", strings.ReplaceAll(entry.summary(), "`", "'"), f.environment()) // pflag takes what is in ` for the value's name
		flag := flags.VarPF(&flagValue{text: entry.text(), kind: f.kind()}, f.flag, "", usage)
		if f.kind() == "bool" {
			flag.NoOptDefVal = "true" // --flag alone
		}
	}
}

// entry is a key as a file has it.
type entry struct {
	key   *yaml.Node
	value *yaml.Node
}

// summary is the comment above the key, without the full stop that --help does not want.
func (e entry) summary() string {
	lines := strings.Split(e.key.HeadComment, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(strings.TrimPrefix(lines[i], "#"))
	}
	return strings.TrimSuffix(strings.Join(lines, " "), ".")
}

// text is the value as a flag would write it.
func (e entry) text() string {
	elements := make([]string, len(e.value.Content))
	for i, element := range e.value.Content {
		elements[i] = element.Value
	}
	return e.value.Value + strings.Join(elements, ",")
}

// document reads the embedded file. It is ours, so it is right: TestFiles_AreTheDefaults.
func (p Program[T]) document() map[string]entry {
	_, entries, err := parse(p.file)
	if err != nil {
		panic(err)
	}
	return entries
}

// flagValue holds a flag's text as it was written; load.go gives it a type, so that its faults are told with all others.
type flagValue struct {
	text string
	kind string
	set  bool
}

func (v *flagValue) String() string { return v.text }
func (v *flagValue) Type() string   { return v.kind }

// Set takes the flag's text; a list's flag may be given several times.
func (v *flagValue) Set(s string) error {
	if v.kind == "list" && v.set {
		s = v.text + "," + s
	}
	v.text, v.set = s, true
	return nil
}
