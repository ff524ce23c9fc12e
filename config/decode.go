package config

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is one thing that is wrong.
type Problem struct {
	Line int    // in the file; 0 when it does not come from the file
	Key  string // as in dimse.listen or aes[1].rights; a flag's name; "" for the whole file
	Text string
}

// Error is everything that is wrong with a configuration, in line order.
type Error struct {
	File     string
	Problems []Problem
}

// Error has one line for each problem: FILE:LINE: KEY: TEXT.
func (e *Error) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		if p.Line > 0 {
			fmt.Fprintf(&b, "%s:%d: ", e.File, p.Line)
		}
		if p.Key != "" {
			b.WriteString(p.Key + ": ")
		}
		b.WriteString(p.Text)
	}
	return b.String()
}

// decoder fills structs from YAML nodes and remembers where each key stands.
type decoder struct {
	lines    map[string]int
	flags    map[string]string // key -> the flag that set it
	problems []Problem
}

// problem notes that the value of key is wrong.
func (d *decoder) problem(key, format string, args ...any) {
	p := Problem{Line: d.line(key), Key: key, Text: fmt.Sprintf(format, args...)}
	if name, ok := d.flags[key]; ok {
		p.Line, p.Key = 0, name
	}
	d.problems = append(d.problems, p)
}

// line is where key stands, or the nearest key above it that is in the file.
func (d *decoder) line(key string) int {
	for key != "" {
		if line, ok := d.lines[key]; ok {
			return line
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return 0
}

// flag notes that key was set by a flag, whatever the file says.
func (d *decoder) flag(key, name string) {
	if d.flags == nil {
		d.flags = map[string]string{}
	}
	d.flags[key] = name
	d.problems = slices.DeleteFunc(d.problems, func(p Problem) bool { return p.Key == key })
}

func (d *decoder) sorted() []Problem {
	slices.SortStableFunc(d.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return d.problems
}

var yamlErrorLine = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)

func (d *decoder) document(text []byte, to any) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		p := Problem{Text: err.Error()}
		if m := yamlErrorLine.FindStringSubmatch(err.Error()); m != nil {
			p.Line, _ = strconv.Atoi(m[1])
			p.Text = m[2]
		}
		d.problems = append(d.problems, p)
		return
	}
	if len(doc.Content) > 0 { // an empty file is a configuration that says nothing
		d.value("", doc.Content[0], reflect.ValueOf(to).Elem())
	}
}

func (d *decoder) value(key string, n *yaml.Node, to reflect.Value) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // "key:" alone leaves the default
	}
	text, isText := to.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case isText:
		d.scalar(key, n, "a single value", text.UnmarshalText)
	case to.Kind() == reflect.Struct:
		d.mapping(key, n, to)
	case to.Kind() == reflect.Slice:
		d.sequence(key, n, to)
	case to.Kind() == reflect.String:
		d.scalar(key, n, "a text", func(b []byte) error { to.SetString(string(b)); return nil })
	case to.Kind() == reflect.Int64:
		d.scalar(key, n, "a whole number", func(b []byte) error {
			v, err := strconv.ParseInt(string(b), 10, 64)
			if err != nil {
				return fmt.Errorf("%q is not a whole number", b)
			}
			to.SetInt(v)
			return nil
		})
	case to.Kind() == reflect.Bool:
		d.scalar(key, n, "true or false", func(b []byte) error {
			if n.Tag != "!!bool" {
				return errors.New("write true or false")
			}
			to.SetBool(string(b) == "true")
			return nil
		})
	default:
		panic("config: no way to read a " + to.Type().String())
	}
}

func (d *decoder) scalar(key string, n *yaml.Node, want string, set func([]byte) error) {
	if n.Kind != yaml.ScalarNode {
		d.problem(key, "expected %s", want)
		return
	}
	if err := set([]byte(n.Value)); err != nil {
		d.problem(key, "%s", err)
	}
}

func (d *decoder) mapping(key string, n *yaml.Node, to reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.problem(key, "expected keys and values")
		return
	}
	fields := map[string]reflect.Value{}
	for i := range to.NumField() {
		fields[to.Type().Field(i).Tag.Get("yaml")] = to.Field(i)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, line := n.Content[i].Value, n.Content[i].Line
		inner := strings.TrimPrefix(key+"."+name, ".")
		field, known := fields[name]
		switch _, seen := d.lines[inner]; {
		case !known:
			d.problems = append(d.problems, Problem{Line: line, Key: inner, Text: "unknown key"})
		case seen:
			d.problems = append(d.problems, Problem{Line: line, Key: inner, Text: "given twice"})
		default:
			d.lines[inner] = line
			d.value(inner, n.Content[i+1], field)
		}
	}
}

func (d *decoder) sequence(key string, n *yaml.Node, to reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.problem(key, "expected a list")
		return
	}
	list := reflect.MakeSlice(to.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		inner := fmt.Sprintf("%s[%d]", key, i)
		d.lines[inner] = item.Line
		if v, ok := list.Index(i).Addr().Interface().(interface{ setDefaults() }); ok {
			v.setDefaults()
		}
		d.value(inner, item, list.Index(i))
	}
	to.Set(list)
}
