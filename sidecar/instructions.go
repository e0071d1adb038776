package sidecar

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// errContract: the app's answer breaks the header contract; nothing of it is applied (H6).
var errContract = errors.New("contract")

func broken(field, why string) error { return fmt.Errorf("%w: %s: %s", errContract, field, why) }

// Instructions are what one answer of the app asks of its session.
type instructions struct {
	changes []sessioncodec.Change
	replace bool // changes are the difference to what the app was given
	clear   bool
	renew   bool
	destroy bool
	touch   bool
	subject *string
	epoch   uint64 // the subject's, when the session is bound to it
	idle    uint32 // seconds, 0 when not asked
}

// nothing is what most answers ask. It is never changed.
var nothing = &instructions{}

// none is true when the app asked for nothing.
func (in *instructions) none() bool {
	return len(in.changes) == 0 && !in.clear && !in.renew && !in.destroy && !in.touch && in.subject == nil && in.idle == 0
}

// instruct reads the fields that collect found. loaded is what the app was given.
func (h *Handler) instruct(fields head.Fields, loaded *sessioncodec.Record) (*instructions, error) {
	if len(fields) == 0 {
		return nothing, nil
	}
	in := &instructions{}
	var seen seenFields
	for _, line := range fields {
		name, err := h.admit(line, &seen)
		if err != nil {
			return nil, err
		}
		switch name {
		case fieldPatch:
			in.changes, err = sessioncodec.ParsePatch([]byte(line.Value))
		case fieldReplace:
			in.replace = true
			in.changes, err = sessioncodec.ParseReplace([]byte(line.Value), loaded)
		case fieldOp:
			err = in.ops(line.Value)
		case fieldSubject:
			in.subject, err = parseSubject(line.Value)
		case fieldIdle:
			in.idle, err = parseIdle(line.Value, h.opts.Idle.Seconds())
		}
		if err != nil {
			return nil, broken(name, err.Error())
		}
	}
	if seen.has(fieldPatch) && in.replace {
		return nil, broken(fieldReplace, "an answer has either a patch or a replacement")
	}
	return in, nil
}

// instructionFields are those there are.
var instructionFields = [...]string{fieldPatch, fieldReplace, fieldOp, fieldSubject, fieldIdle}

// seenFields tells which of them an answer had.
type seenFields [len(instructionFields)]bool

func (s *seenFields) has(name string) bool { return s[slices.Index(instructionFields[:], name)] }

// admit checks what holds for every instruction: a name that exists, once, ASCII, within the limit (H6, H10).
func (h *Handler) admit(line head.Field, seen *seenFields) (string, error) {
	i := slices.IndexFunc(instructionFields[:], func(name string) bool { return strings.EqualFold(line.Name, name) })
	if i < 0 {
		return "", broken(strconv.QuoteToASCII(line.Name), "unknown instruction")
	}
	name := instructionFields[i]
	switch {
	case seen[i]:
		return "", broken(name, "given more than once")
	case len(line.Value) > h.opts.MaxPatch:
		return "", broken(name, fmt.Sprintf("longer than session.max_patch, %d bytes", h.opts.MaxPatch))
	case !sessioncodec.HeaderSafe(line.Value):
		return "", broken(name, `only ASCII 0x20 to 0x7E is allowed; write other characters as \uXXXX`)
	}
	seen[i] = true
	return name, nil
}

func (in *instructions) ops(list string) error {
	for op := range strings.SplitSeq(list, ",") {
		switch op = strings.Trim(op, " "); op {
		case "renew":
			in.renew = true
		case "destroy":
			in.destroy = true
		case "clear":
			in.clear = true
		case "touch":
			in.touch = true
		default:
			return errors.New("unknown operation; known are renew, destroy, clear and touch") // without the value: it may be a secret
		}
	}
	return nil
}

// parseSubject reads an RFC 9651 string; its content is the subject.
func parseSubject(value string) (*string, error) {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return nil, errors.New(`a quoted string is expected, as in "u123"`)
	}
	var b strings.Builder
	for i := 1; i < len(value)-1; i++ {
		c := value[i]
		if c == '"' {
			return nil, errors.New("a quote within the string needs a backslash")
		}
		if c == '\\' {
			i++
			if i == len(value)-1 || value[i] != '"' && value[i] != '\\' {
				return nil, errors.New(`a backslash escapes only " and \`)
			}
			c = value[i]
		}
		b.WriteByte(c)
	}
	if b.Len() == 0 || b.Len() > 256 {
		return nil, errors.New("empty, or longer than 256 bytes: without a subject leave the field away")
	}
	subject := b.String()
	return &subject, nil
}

func parseIdle(value string, most float64) (uint32, error) {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n == 0 {
		return 0, errors.New("a whole number of seconds above 0 is expected")
	}
	if float64(n) > most {
		return 0, fmt.Errorf("longer than session.idle, %.0f seconds", most)
	}
	return uint32(n), nil
}
