package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"tidings/edge/wire"
)

// printer writes messages one a line, for people or for scripts.
type printer struct {
	w    io.Writer
	json bool
	line bytes.Buffer
}

// message writes a message of a topic; raw is the same as it came.
func (p *printer) message(m wire.Message, raw []byte) error {
	p.line.Reset()
	if p.json {
		return p.raw(raw)
	}
	at := time.UnixMilli(m.Timestamp).Local().Format("15:04:05.000")
	place := "-" // it bypassed the stream
	if m.Seq > 0 {
		place = fmt.Sprintf("#%d", m.Seq)
	}
	fmt.Fprintf(&p.line, "%s %s %s ", at, m.Topic, place)
	switch {
	case m.Gone:
		p.line.WriteString("gone")
	case json.Compact(&p.line, m.Payload) != nil:
		p.line.Write(m.Payload)
	}
	return p.end()
}

// gap writes that messages are lost; raw is the same as it came.
func (p *printer) gap(topic string, gap wire.GapPayload, raw []byte) error {
	p.line.Reset()
	if p.json {
		return p.raw(raw)
	}
	fmt.Fprintf(&p.line, "             %s messages between #%d and #%d are lost: %s", topic, gap.After, gap.Before, gap.Reason)
	return p.end()
}

// raw writes a message as it came, unless its publisher put line breaks into it.
func (p *printer) raw(message []byte) error {
	if !bytes.ContainsAny(message, "\r\n") || json.Compact(&p.line, message) != nil {
		p.line.Write(message)
	}
	return p.end()
}

func (p *printer) end() error {
	p.line.WriteByte('\n')
	_, err := p.w.Write(p.line.Bytes())
	return err
}
