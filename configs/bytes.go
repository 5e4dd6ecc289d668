package configs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size, written 8KiB, 1MiB, 1GiB or as a number of bytes.
type Bytes int64

var units = []struct {
	suffix string
	size   Bytes
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// ParseBytes reads a size. Decimal units (kB, MB) are refused rather than taken for something they are not.
func ParseBytes(s string) (Bytes, error) {
	for _, unit := range units {
		digits, ok := strings.CutSuffix(s, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
		if err != nil || Bytes(n) > math.MaxInt64/unit.size {
			break
		}
		return Bytes(n) * unit.size, nil
	}
	return 0, fmt.Errorf("%q is no size: write a number of bytes, or 8KiB, 1MiB, 1GiB", s)
}

// String writes the size in the largest unit that divides it.
func (b Bytes) String() string {
	for _, unit := range units {
		if unit.size > 1 && b >= unit.size && b%unit.size == 0 {
			return strconv.FormatInt(int64(b/unit.size), 10) + unit.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}
