package configs

import "strings"

// Faults is everything that is wrong with a configuration, one line each: the key, what is wrong and where it came from.
type Faults []string

func (f Faults) Error() string {
	if len(f) == 1 {
		return "configuration: " + f[0]
	}
	return "configuration:\n  " + strings.Join(f, "\n  ")
}

// findings gathers faults by key while a configuration is validated.
type findings struct {
	prefix string
	add    func(key, fault string)
}

func (f findings) in(section string) findings {
	return findings{prefix: f.prefix + section + ".", add: f.add}
}

// unless adds the fault if ok does not hold.
func (f findings) unless(ok bool, key, fault string) {
	if !ok {
		f.add(f.prefix+key, fault)
	}
}

// positive adds a fault unless a number, size or duration is above zero.
func positive[N ~int | ~int64](f findings, key string, value N) {
	f.unless(value > 0, key, "must be above zero")
}
