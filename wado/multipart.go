package wado

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"strconv"
)

// multipartWriter writes multipart/related (RFC 2046 5.1, PS3.18 8.6.1.2) whose
// whole length is known beforehand when the lengths of the parts are.
type multipartWriter struct {
	dst      io.Writer
	boundary string
	parts    int
	head     []byte // reused for part headers
}

func newMultipartWriter(dst io.Writer) *multipartWriter {
	var random [16]byte
	rand.Read(random[:])
	return &multipartWriter{dst: dst, boundary: hex.EncodeToString(random[:])}
}

// contentType is the Content-Type of the whole; media is that of the parts.
func (m *multipartWriter) contentType(media string) string {
	return `multipart/related; type="` + media + `"; boundary=` + m.boundary
}

// part is one body part. length may be -1 for unknown.
type part struct {
	contentType string
	length      int64
	location    string // URL of what is in it; may be ""
}

// next begins a part; its body is then written to dst.
func (m *multipartWriter) next(p part) error {
	m.head = m.appendHead(m.head[:0], p, m.parts == 0)
	m.parts++
	_, err := m.dst.Write(m.head)
	return err
}

// close writes the closing delimiter.
func (m *multipartWriter) close() error {
	m.head = m.appendEnd(m.head[:0])
	_, err := m.dst.Write(m.head)
	return err
}

// overhead is the number of bytes that next writes for p.
func (m *multipartWriter) overhead(p part, first bool) int64 {
	m.head = m.appendHead(m.head[:0], p, first)
	return int64(len(m.head))
}

// endLength is the number of bytes that close writes.
func (m *multipartWriter) endLength() int64 { return int64(len(m.appendEnd(nil))) }

func (m *multipartWriter) appendHead(b []byte, p part, first bool) []byte {
	if !first {
		b = append(b, "\r\n"...)
	}
	b = append(b, "--"...)
	b = append(b, m.boundary...)
	b = append(b, "\r\nContent-Type: "...)
	b = append(b, p.contentType...)
	if p.length >= 0 {
		b = append(b, "\r\nContent-Length: "...)
		b = strconv.AppendInt(b, p.length, 10)
	}
	if p.location != "" {
		b = append(b, "\r\nContent-Location: "...)
		b = append(b, p.location...)
	}
	return append(b, "\r\n\r\n"...)
}

func (m *multipartWriter) appendEnd(b []byte) []byte {
	b = append(b, "\r\n--"...)
	b = append(b, m.boundary...)
	return append(b, "--\r\n"...)
}
