package daemon

import (
	"io"
	"log/slog"
	"os"

	"tidings/configs"
)

// NewLogger writes to w what the configuration asks for. Its values have been validated by configs.
func NewLogger(w io.Writer, config configs.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(config.Level))
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: readable}
	if config.Format == "text" || config.Format == "auto" && IsTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// readable writes a duration with its unit, where JSON would have bare nanoseconds.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// IsTerminal says whether somebody reads w as it is written.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
