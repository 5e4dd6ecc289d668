package configs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// Check is what a package that takes a part of the configuration has to say about it: faults joined by errors.Join, each
// starting with its key and ": ". A key is spelt as in the file or as in Go.
type Check[T any] func(T) error

// Under puts the keys of a check's faults into a section.
func Under(section string, err error) error {
	var errs []error
	for _, e := range flatten(err) {
		errs = append(errs, fmt.Errorf("%s.%w", section, e))
	}
	return errors.Join(errs...)
}

// Load returns the effective configuration: flags, over the environment, over the file of --config, over the defaults.
// Checks see the whole of it and add what is wrong with it to their eyes. The error is a [Faults] with everything, or, where the
// file cannot be read, with that alone.
func (p Program[T]) Load(flags *pflag.FlagSet, checks ...Check[T]) (T, error) {
	var config T
	l := loader{
		fields:   fieldsOf(&config),
		flags:    flags,
		values:   viper.New(),
		defaults: viper.New(),
		section:  p.section,
		broken:   map[string]bool{},
	}
	l.defaults.SetConfigType("yaml")
	if err := l.defaults.ReadConfig(bytes.NewReader(p.file)); err != nil {
		panic(err) // ours, see document
	}
	if err := l.readGiven(); err != nil {
		return config, Faults{err.Error()} // what it says is not known, so that anything else may be its fault
	}
	l.faults = append(l.faults, unknownEnvironment(os.Environ())...)
	for _, f := range l.fields {
		l.fill(f)
	}
	p.validate(config, findings{add: l.fault})
	for _, check := range checks {
		for _, err := range flatten(check(config)) {
			key, fault, _ := strings.Cut(err.Error(), ": ")
			l.fault(key, fault)
		}
	}
	if len(l.faults) > 0 {
		return config, l.faults
	}
	return config, nil
}

// loader is one load: what has been read so far, and what is wrong with it.
type loader struct {
	fields   []field
	flags    *pflag.FlagSet
	section  string           // the only one that is looked at; empty: all
	path     string           // of the --config file; empty: none
	given    map[string]entry // its keys
	values   *viper.Viper     // all sources
	defaults *viper.Viper     // the embedded file alone

	broken map[string]bool // keys with a fault: one each is enough
	faults Faults
}

// readGiven reads the file of --config, if there is one.
func (l *loader) readGiven() error {
	l.path, _ = lookup(prefix + "CONFIG")
	if l.flags.Changed(configFlag) {
		l.path, _ = l.flags.GetString(configFlag)
	}
	if l.path == "" {
		return nil
	}
	content, entries, err := readFile(l.path)
	if err == nil {
		l.values.SetConfigType("yaml")
		err = l.values.ReadConfig(bytes.NewReader(content))
	}
	if err != nil {
		return err
	}
	l.given = entries
	if l.section != "" {
		entries = maps.Clone(entries)
		maps.DeleteFunc(entries, func(key string, _ entry) bool { return key != l.section && !strings.HasPrefix(key, l.section+".") })
	}
	l.faults = append(l.faults, unknownKeys(l.path, entries, l.fields)...)
	return nil
}

// fill finds a field's value. One that cannot be read keeps the default, so that it causes no faults further on.
func (l *loader) fill(f field) {
	l.values.SetDefault(f.key, l.defaults.Get(f.key))
	_ = l.values.BindEnv(f.key, f.environment()) // fails without a key only
	if f.flag != "" {
		if err := l.values.BindPFlag(f.key, l.flags.Lookup(f.flag)); err != nil {
			panic(fmt.Sprintf("configs: Load without AddFlags: %v", err))
		}
	}
	value := l.values.Get(f.key)
	if _, isSection := value.(map[string]any); isSection || value == nil {
		value = l.defaults.Get(f.key) // keys in place of a value, or the other way round, have been refused already
	}
	if err := f.set(value); err != nil {
		l.fault(f.key, err.Error())
		_ = f.set(l.defaults.Get(f.key))
	}
}

// fault adds what is wrong with a key's value, and where that came from.
func (l *loader) fault(key, fault string) {
	f, ok := l.find(key)
	switch {
	case !ok:
		l.faults = append(l.faults, fmt.Sprintf("%s: %s", key, fault))
	case !l.broken[f.key]:
		l.broken[f.key] = true
		l.faults = append(l.faults, fmt.Sprintf("%s: %s (%s)", f.key, fault, l.origin(f)))
	}
}

// find finds the field that a package means by a key of its own: Limits.MessageBytes, or prefix for nats.prefix if there
// is but one such.
func (l *loader) find(key string) (field, bool) {
	plain := func(key string) string { return strings.ToLower(strings.ReplaceAll(key, "_", "")) }
	var ends []field
	for _, f := range l.fields {
		if plain(f.key) == plain(key) {
			return f, true
		}
		if strings.HasSuffix(plain(f.key), "."+plain(key)) {
			ends = append(ends, f)
		}
	}
	if len(ends) == 1 {
		return ends[0], true
	}
	return field{}, false
}

// origin says where a field's value came from, in words that lead there.
func (l *loader) origin(f field) string {
	_, inEnvironment := lookup(f.environment())
	switch {
	case f.flag != "" && l.flags.Changed(f.flag):
		return "--" + f.flag
	case inEnvironment:
		return f.environment()
	case l.given[f.key].key != nil:
		return fmt.Sprintf("%s:%d", l.path, l.given[f.key].key.Line)
	}
	return "the defaults"
}

// lookup is os.LookupEnv, except that empty means not set.
func lookup(name string) (string, bool) {
	value := os.Getenv(name)
	return value, value != ""
}

// flatten takes errors.Join apart.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var errs []error
	for _, e := range joined.Unwrap() {
		errs = append(errs, flatten(e)...)
	}
	return errs
}
