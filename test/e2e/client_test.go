package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// client is a C-STORE SCU of the fewest possible lines. It sends whatever bytes
// it is given, without parsing them, which DCMTK does not, and it shares no
// code with the node.
type client struct {
	conn   net.Conn
	r      *bufio.Reader
	maxPDU int
	id     uint16
}

// associate opens an association with one presentation context, and more user
// information items.
func (n *node) associate(sopClass, transferSyntax string, more ...[]byte) (*client, error) {
	conn, err := net.Dial("tcp", n.dimse)
	if err != nil {
		return nil, err
	}
	return associateOver(conn, sopClass, transferSyntax, more...)
}

// associateOver opens an association on a connection that there is.
func associateOver(conn net.Conn, sopClass, transferSyntax string, more ...[]byte) (*client, error) {
	c := &client{conn: conn, r: bufio.NewReader(conn)}
	if err := c.negotiate(sopClass, transferSyntax, more...); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// abort drops the connection.
func (c *client) abort() { c.conn.Close() }

func item(kind byte, content ...[]byte) []byte {
	b := bytes.Join(content, nil)
	return append(binary.BigEndian.AppendUint16([]byte{kind, 0}, uint16(len(b))), b...)
}

// requestBody is an A-ASSOCIATE-RQ (PS3.8 section 9.3.2) of one context, without
// the PDU's header.
func requestBody(sopClass, transferSyntax string, more ...[]byte) []byte {
	body := []byte{0, 1, 0, 0}
	body = fmt.Appendf(body, "%-16s%-16s", "LUMEN", "E2E")
	body = append(body, make([]byte, 32)...)
	body = append(body, item(0x10, []byte("1.2.840.10008.3.1.1.1"))...)
	body = append(body, item(0x20, []byte{1, 0, 0, 0}, item(0x30, []byte(sopClass)), item(0x40, []byte(transferSyntax)))...)
	return append(body, item(0x50, item(0x51, []byte{0, 0, 0x40, 0}), item(0x52, []byte("2.25.1")), bytes.Join(more, nil))...)
}

// negotiate sends an A-ASSOCIATE-RQ and reads the answer.
func (c *client) negotiate(sopClass, transferSyntax string, more ...[]byte) error {
	if _, err := c.conn.Write(pdu(1, requestBody(sopClass, transferSyntax, more...))); err != nil {
		return err
	}
	kind, answer, err := c.readPDU()
	if err != nil {
		return err
	}
	if kind != 2 || len(answer) < 68 {
		return fmt.Errorf("the association is answered with a PDU of type %d", kind)
	}
	accepted := false
	for rest := answer[68:]; len(rest) >= 4; {
		length := min(4+int(binary.BigEndian.Uint16(rest[2:])), len(rest))
		switch content := rest[4:length]; {
		case rest[0] == 0x21 && len(content) >= 4:
			accepted = content[2] == 0
		case rest[0] == 0x50 && len(content) >= 8 && content[0] == 0x51:
			c.maxPDU = int(binary.BigEndian.Uint32(content[4:]))
		}
		rest = rest[length:]
	}
	if !accepted || c.maxPDU < 4096 {
		return errors.New("the presentation context is not accepted")
	}
	return nil
}

func pdu(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind, 0}, uint32(len(body))), body...)
}

func (c *client) readPDU() (kind byte, body []byte, err error) {
	var head [6]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(head[2:])
	if length > 1<<20 {
		return 0, nil, fmt.Errorf("a PDU of %d bytes", length)
	}
	body = make([]byte, length)
	_, err = io.ReadFull(c.r, body)
	return head[0], body, err
}

// store sends one C-STORE (PS3.7 section 9.3.1) and returns the status of the
// answer.
func (c *client) store(sopClass, sopInstance string, data io.Reader) (uint16, error) {
	c.id++
	var command bytes.Buffer
	command.Write(element(0x0000_0002, padded(sopClass)))
	command.Write(element(0x0000_0100, short(0x0001)))
	command.Write(element(0x0000_0110, short(c.id)))
	command.Write(element(0x0000_0700, short(0)))
	command.Write(element(0x0000_0800, short(0x0001)))
	command.Write(element(0x0000_1000, padded(sopInstance)))
	length := element(0x0000_0000, binary.LittleEndian.AppendUint32(nil, uint32(command.Len())))
	if err := c.send(1, io.MultiReader(bytes.NewReader(length), &command)); err != nil {
		return 0, err
	}
	if err := c.send(0, data); err != nil {
		return 0, err
	}
	return c.readStatus()
}

// send writes a part of a message as P-DATA-TF PDUs of one PDV each; control 1
// marks a command.
func (c *client) send(control byte, data io.Reader) error {
	buffer := make([]byte, 12+min(c.maxPDU-6, 64<<10))
	in := bufio.NewReaderSize(data, 64<<10)
	for last := false; !last; {
		n, err := io.ReadFull(in, buffer[12:])
		if err == nil {
			_, err = in.Peek(1)
		}
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		last = err != nil
		buffer[0], buffer[1] = 4, 0
		binary.BigEndian.PutUint32(buffer[2:], uint32(n+6))
		binary.BigEndian.PutUint32(buffer[6:], uint32(n+2))
		buffer[10], buffer[11] = 1, control&1
		if last {
			buffer[11] |= 2
		}
		if _, err := c.conn.Write(buffer[:12+n]); err != nil {
			return err
		}
	}
	return nil
}

// readStatus reads the answer's command set and takes Status (0000,0900) of it.
func (c *client) readStatus() (uint16, error) {
	var command []byte
	for {
		kind, body, err := c.readPDU()
		if err != nil {
			return 0, err
		}
		if kind != 4 || len(body) < 6 {
			return 0, fmt.Errorf("C-STORE is answered with a PDU of type %d", kind)
		}
		command = append(command, body[6:]...)
		if body[5]&2 != 0 {
			break
		}
	}
	for len(command) >= 8 {
		length := int(binary.LittleEndian.Uint32(command[4:]))
		if length < 0 || 8+length > len(command) {
			break
		}
		if binary.LittleEndian.Uint16(command[2:]) == 0x0900 && length == 2 {
			return binary.LittleEndian.Uint16(command[8:]), nil
		}
		command = command[8+length:]
	}
	return 0, errors.New("the answer has no status")
}

// element encodes one element of a command set, in implicit VR little endian.
func element(tag uint32, value []byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, uint16(tag>>16))
	b = binary.LittleEndian.AppendUint16(b, uint16(tag))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

func short(v uint16) []byte { return binary.LittleEndian.AppendUint16(nil, v) }

func padded(uid string) []byte { return []byte(uid + strings.Repeat("\x00", len(uid)%2)) }
