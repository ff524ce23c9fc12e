package dicom

import (
	"errors"
	"io"
	"slices"

	"lumen/dicom/dict"
)

// WriteJSON writes the data set that r is at the start of as an object of the
// DICOM JSON model, as [AppendJSON] does, but element by element and in the
// order of the stream: what a header takes that is too large for a [DataSet],
// as those of enhanced multi-frame objects are, is the memory of its longest
// value. Values longer than maxValue bytes count as omitted. Pixel data of the
// data set itself does so too, and what follows it is not read: this is the
// metadata of PS3.18 section 10.4.1.1.2. Of elements with the same tag the first
// one counts; sequences nested deeper than [Limits] allow are left out.
//
// When the stream ends in the middle of something, the object is completed with
// what was there, and the error wraps [io.ErrUnexpectedEOF]. On another error,
// part of the object may have been written.
func WriteJSON(w io.Writer, r *Reader, opt JSONOptions, maxValue int) error {
	s := newModelStream(&jsonWriter{model{opt: opt}}, w, r, maxValue)
	return s.write("{", "}")
}

// WriteXML is to [AppendXML] what [WriteJSON] is to [AppendJSON]. The block of a
// private element is known when it was reserved before, in the same group and by
// a name of no more than 64 characters, as PS3.5 section 7.8.1 has it.
func WriteXML(w io.Writer, r *Reader, opt JSONOptions, maxValue int) error {
	s := newModelStream(&xmlWriter{model{opt: opt}}, w, r, maxValue)
	return s.write(xmlStart, xmlEnd)
}

// modelForm is how a model is written: as JSON or XML.
type modelForm interface {
	written() *model
	attribute(d *DataSet, t Tag, vr VR, first bool) // begins one of d
	value(d *DataSet, e Element) bool               // false leaves the attribute out
	bulk(e Element) bool                            // likewise
	endAttribute()
	item(n int) // begins item n, counted from 0
	endItem()
	endItems(n int) // of a sequence of n items
}

type modelStream struct {
	modelForm
	*model   // that of the form
	dst      io.Writer
	r        *Reader
	maxValue int
	cutShort error // the stream's, which then says it again
}

func newModelStream(form modelForm, dst io.Writer, r *Reader, maxValue int) modelStream {
	return modelStream{modelForm: form, model: form.written(), dst: dst, r: r, maxValue: maxValue}
}

func (s *modelStream) write(start, end string) error {
	s.put(start)
	if err := s.dataSet(&DataSet{}); err != nil {
		return err
	}
	s.put(end)
	if err := s.flush(0); err != nil {
		return err
	}
	return s.cutShort
}

// cut notes that the stream ends too early: err is nil then.
func (s *modelStream) cut(err error) error {
	var parse *ParseError
	if errors.Is(err, io.ErrUnexpectedEOF) && errors.As(err, &parse) {
		s.cutShort, err = err, nil
	}
	return err
}

const modelStreamBuffer = 32 << 10

// flush writes what there is when that is more than atMost bytes.
func (s *modelStream) flush(atMost int) error {
	if len(s.b) <= atMost {
		return nil
	}
	_, err := s.dst.Write(s.b)
	s.b = s.b[:0]
	return err
}

// dataSet writes the elements up to the end of the item or the data set. d has
// nothing in it but, later, the character set, who reserved blocks of the group
// that is being read, and one element at a time.
func (s *modelStream) dataSet(d *DataSet) error {
	var seen tagSet
	var group uint16
	for first := true; ; {
		t, err := s.r.Next()
		if err != nil || t.Kind == ItemEnd {
			if err == io.EOF {
				return nil
			}
			return s.cut(err)
		}
		if t.Tag.Group() != group {
			group = t.Tag.Group()
			d.elems = slices.DeleteFunc(d.elems, func(e elem) bool { return e.tag.PrivateCreator() })
		}
		pixel := t.Depth == 0 && pixelTag(t.Tag)
		if t.Tag.GroupLength() || !seen.add(t.Tag) || t.Kind == SequenceStart && t.Depth >= s.r.lim.Depth {
			if err := s.cut(s.skip(t)); err != nil {
				return err
			}
			continue
		}
		if t.Kind == ElementToken {
			t.VR = s.r.keptVR(t)
		}
		mark := len(s.b)
		s.attribute(d, t.Tag, t.VR, first)
		written, err := s.element(d, t, pixel)
		switch {
		case s.cut(err) != nil:
			return err
		case written:
			s.endAttribute()
			first = false
		default:
			s.b = s.b[:mark]
		}
		if pixel {
			return nil
		}
		if err := s.flush(modelStreamBuffer); err != nil {
			return err
		}
	}
}

// maxCreator is the size in bytes of the longest LO (PS3.5 table 6.2-1), with
// escape sequences.
const maxCreator = 4 * 64

// element writes what follows the VR; false leaves the attribute out.
func (s *modelStream) element(d *DataSet, t Token, pixel bool) (bool, error) {
	e := Element{Tag: t.Tag, VR: t.VR, Offset: t.Offset, Length: t.Length}
	switch {
	case t.Kind == SequenceStart:
		return true, s.sequence(d, t)
	case pixel:
		return s.bulk(e), nil
	case t.Kind == FragmentsStart:
		return s.bulk(e), s.skip(t)
	case t.Length > int64(s.maxValue):
		return s.bulk(e), nil
	}
	value, err := s.r.Value(s.maxValue)
	if err != nil {
		return false, err
	}
	if t.Length > 0 {
		e.Value = value
	}
	if t.Tag == dict.SpecificCharacterSet {
		e.VR, e.Value = dict.CS, append([]byte(nil), value...)
		d.Set(e)
		return s.value(d, e), nil
	}
	d.Set(e)
	written := s.value(d, e)
	if t.Tag.PrivateCreator() && len(value) <= maxCreator {
		e.Value = slices.Clone(e.Value)
		d.Set(e)
		return written, nil
	}
	d.Delete(t.Tag)
	return written, nil
}

func (s *modelStream) sequence(d *DataSet, sequence Token) error {
	s.path = append(s.path, PathStep{Tag: sequence.Tag})
	for n := 0; ; n++ {
		t, err := s.r.Next()
		if err = s.cut(err); err != nil {
			return err
		}
		if t.Kind != ItemStart { // its end
			s.endItems(n)
			s.path = s.path[:len(s.path)-1]
			return nil
		}
		s.item(n)
		s.path[len(s.path)-1].Item = n
		if err := s.dataSet(&DataSet{outer: d}); err != nil {
			return err
		}
		s.endItem()
	}
}

// skip reads to the end of what t starts.
func (s *modelStream) skip(t Token) error {
	for t.Kind == SequenceStart || t.Kind == FragmentsStart {
		end, err := s.r.Next()
		if err != nil {
			return err
		}
		if end.Depth == t.Depth && (end.Kind == SequenceEnd || end.Kind == FragmentsEnd) {
			return nil
		}
	}
	return nil
}

// tagSet holds the tags of a data set. They come in order as a rule: then the
// last one tells.
type tagSet struct {
	list   []Tag
	random map[Tag]struct{} // once they did not
}

// add reports whether t is new.
func (s *tagSet) add(t Tag) bool {
	if n := len(s.list); s.random == nil && (n == 0 || s.list[n-1] < t) {
		s.list = append(s.list, t)
		return true
	}
	if s.random == nil {
		s.random = make(map[Tag]struct{}, len(s.list))
		for _, old := range s.list {
			s.random[old] = struct{}{}
		}
		s.list = nil
	}
	_, old := s.random[t]
	s.random[t] = struct{}{}
	return !old
}
