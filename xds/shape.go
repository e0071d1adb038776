package xds

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A shape says what a reader of a resource implements: which fields, and which of their values. A message that has anything else is refused by
// the name of the field, so that nothing is ignored that somebody meant.

// rule judges one field that is set.
type rule interface {
	judge(at string, v any) []string
}

// shape is the fields of a message, or of each message of a list. It is a rule too.
type shape map[protoreflect.Name]rule

type (
	read    struct{}                        // any value: the reader implements it
	moot    string                          // any value: it has no effect on what the reader does, and why not
	only    struct{ value any }             // this value
	oneOf   []any                           // one of these
	atLeast struct{ value float64 }         // a number, or seconds
	must    struct{ rule }                  // not left out: the default is another value
	single  struct{ rule }                  // a list of one
	packed  map[string]shape                // an Any of one of these types
	same    struct{ message proto.Message } // an Any of exactly this
	byName  map[string]rule                 // a map with these keys
)

func (read) judge(string, any) []string { return nil }
func (moot) judge(string, any) []string { return nil }

func (o only) judge(at string, v any) []string { return oneOf{o.value}.judge(at, v) }

func (o oneOf) judge(at string, v any) []string {
	if got := plain(v); !slices.Contains(o, got) {
		return []string{fmt.Sprintf("%s is %s: only %s is supported", at, quoted(got), words(o))}
	}
	return nil
}

func (a atLeast) judge(at string, v any) []string {
	var n float64
	switch v := plain(v).(type) {
	case uint32:
		n = float64(v)
	case time.Duration:
		n = v.Seconds()
	default:
		n = math.Inf(-1)
	}
	if n < a.value {
		return []string{fmt.Sprintf("%s is below %v, which is not supported", at, a.value)}
	}
	return nil
}

func (s single) judge(at string, v any) []string {
	if n := v.(protoreflect.List).Len(); n != 1 {
		return []string{fmt.Sprintf("%s has %d entries: only 1 is supported", at, n)}
	}
	return s.rule.judge(at, v)
}

func (s shape) judge(at string, v any) (wrong []string) {
	switch v := v.(type) {
	case protoreflect.Message:
		return s.message(at, v)
	case protoreflect.List:
		for i := range v.Len() {
			wrong = append(wrong, s.message(fmt.Sprintf("%s[%d]", at, i), v.Get(i).Message())...)
		}
	}
	return wrong
}

func (s shape) message(at string, m protoreflect.Message) (wrong []string) {
	if len(m.GetUnknown()) > 0 {
		wrong = append(wrong, at+" has fields of a newer version, which are not supported")
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		field := join(at, string(fd.Name()))
		if r := s[fd.Name()]; r != nil {
			wrong = append(wrong, r.judge(field, valueOf(fd, v))...)
		} else {
			wrong = append(wrong, field+" is not supported")
		}
		return true
	})
	for name, r := range s {
		if _, needed := r.(must); needed && !m.Has(m.Descriptor().Fields().ByName(name)) {
			wrong = append(wrong, join(at, string(name))+" is missing: its default is not supported")
		}
	}
	return wrong
}

func (p packed) judge(at string, v any) []string {
	m, err := unpack(v)
	if err != nil {
		return []string{fmt.Sprintf("%s cannot be read: %v", at, err)}
	}
	name := string(m.ProtoReflect().Descriptor().FullName())
	s, known := p[name]
	if !known {
		return []string{fmt.Sprintf("%s: %s is not supported", at, name)}
	}
	return s.message(at, m.ProtoReflect())
}

func (s same) judge(at string, v any) []string {
	if m, err := unpack(v); err != nil || !proto.Equal(m, s.message) {
		return []string{fmt.Sprintf("%s is not the %s of Pillion's control plane, and no other is supported", at, s.message.ProtoReflect().Descriptor().FullName())}
	}
	return nil
}

func (b byName) judge(at string, v any) (wrong []string) {
	v.(protoreflect.Map).Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		entry := fmt.Sprintf("%s[%q]", at, k.String())
		if r := b[k.String()]; r != nil {
			wrong = append(wrong, r.judge(entry, v.Message())...)
		} else {
			wrong = append(wrong, entry+" is not supported")
		}
		return true
	})
	return wrong
}

func unpack(v any) (proto.Message, error) {
	packed, ok := v.(protoreflect.Message).Interface().(*anypb.Any)
	if !ok {
		return nil, errors.New("it is no Any")
	}
	return packed.UnmarshalNew()
}

// valueOf is a field as rules judge it: a Message, a List, a Map, or plain.
func valueOf(fd protoreflect.FieldDescriptor, v protoreflect.Value) any {
	if fd.Kind() == protoreflect.EnumKind && !fd.IsList() {
		if named := fd.Enum().Values().ByNumber(v.Enum()); named != nil {
			return string(named.Name())
		}
	}
	return v.Interface()
}

// plain is what a wrapper or a list holds.
func plain(v any) any {
	switch v := v.(type) {
	case protoreflect.List:
		var all []string
		for i := range v.Len() {
			all = append(all, v.Get(i).String())
		}
		return strings.Join(all, ", ")
	case protoreflect.Message:
		if d, ok := v.Interface().(*durationpb.Duration); ok {
			return d.AsDuration()
		}
		if fd := v.Descriptor().Fields().ByName("value"); fd != nil {
			return v.Get(fd).Interface()
		}
	}
	return v
}

func join(at, field string) string {
	if at == "" {
		return field
	}
	return at + "." + field
}

func words(all []any) string {
	var texts []string
	for _, v := range all {
		texts = append(texts, quoted(v))
	}
	return strings.Join(texts, " or ")
}

// quoted is a value for an error: short, or only the beginning of it.
func quoted(v any) string {
	const long = 60
	text := fmt.Sprint(v)
	if s, ok := v.(string); ok {
		text = fmt.Sprintf("%q", s)
	}
	if len(text) > long {
		text = text[:long] + ".."
	}
	return text
}

// fits returns why m is not of the shape.
func (s shape) fits(m proto.Message) error {
	wrong := s.message("", m.ProtoReflect())
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return errors.New(strings.Join(wrong, "; "))
}
