package sessioncodec

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits of one JSON text from the app (H11).
const (
	MaxDepth = 32   // objects and arrays around a value, the outermost included
	MaxNames = 1000 // member names at all depths together
)

// What can be wrong with a JSON text. Each comes wrapped with the position and never with a name or value of the session.
var (
	ErrSyntax    = errors.New("sessioncodec: not valid JSON in UTF-8")
	ErrNotObject = errors.New("sessioncodec: not a JSON object")
	ErrDuplicate = errors.New("sessioncodec: a name occurs twice in one object")
	ErrDepth     = fmt.Errorf("sessioncodec: JSON nested deeper than %d", MaxDepth)
	ErrTooMany   = fmt.Errorf("sessioncodec: more than %d names in one JSON text", MaxNames)
	ErrName      = fmt.Errorf("sessioncodec: an attribute name is empty or longer than %d bytes", MaxName)
	ErrBase64    = errors.New(`sessioncodec: "$b64" holds no padded standard base64`)
)

// HeaderSafe tells whether every byte of s may stand in a header value on its way through any server: 0x20 to 0x7E (H10).
func HeaderSafe(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7E {
			return false
		}
	}
	return true
}

// The stored form of a JSON value is the text without whitespace between tokens and with every string spelled in the shortest
// way: raw UTF-8 and no escape but those JSON demands. Numbers keep their bytes, members their order. The app sees the same
// string as \uXXXX in a header and as UTF-8 from the loopback API; both come back as the same stored bytes.

// normalize returns text in stored form. Beyond RFC 8259 it refuses duplicate names, invalid UTF-8 and lone surrogates (H11).
func normalize(text []byte) ([]byte, error) {
	out, err := jsontext.AppendFormat(make([]byte, 0, len(text)), text)
	if err == nil {
		return out, nil
	}
	class := ErrSyntax
	if errors.Is(err, jsontext.ErrDuplicateName) {
		class = ErrDuplicate
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return nil, fmt.Errorf("%w, at byte %d", class, syntax.ByteOffset)
	}
	return nil, class
}

// parseObject reads the attributes of a JSON object within the limits, each as a Put of its value in stored form.
func parseObject(text []byte) ([]Change, error) {
	if err := measure(text); err != nil {
		return nil, err
	}
	object, err := normalize(text)
	if err != nil {
		return nil, err
	}
	if object[0] != '{' {
		return nil, ErrNotObject
	}
	var out []Change
	for quoted, value := range members(object) {
		name := quoted[1 : len(quoted)-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			name, err = jsontext.AppendUnquote(nil, quoted)
		}
		if err != nil || len(name) == 0 || len(name) > MaxName {
			return nil, fmt.Errorf("%w, at member %d", ErrName, len(out)+1)
		}
		out = append(out, Change{Name: string(name), Op: Put, Kind: JSON, Value: value})
	}
	return out, nil
}

// measure checks depth and number of names before anything is built. It trusts no syntax.
func measure(text []byte) error {
	depth, names := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = stringEnd(text, i) - 1
		case '{', '[':
			if depth++; depth > MaxDepth {
				return fmt.Errorf("%w, at byte %d", ErrDepth, i)
			}
		case '}', ']':
			depth--
		case ':':
			if names++; names > MaxNames {
				return fmt.Errorf("%w, at byte %d", ErrTooMany, i)
			}
		}
	}
	return nil
}

// members yields the quoted name and the value of each member of an object in stored form, and nothing for any other value.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		if len(object) == 0 || object[0] != '{' {
			return
		}
		for i := 1; object[i] != '}'; {
			if object[i] == ',' {
				i++
			}
			colon := stringEnd(object, i)
			end := valueEnd(object, colon+1)
			if !yield(object[i:colon:colon], object[colon+1:end:end]) {
				return
			}
			i = end
		}
	}
}

// stringEnd returns the index after the string that begins at text[i].
func stringEnd(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// valueEnd returns the index after the value that begins at text[i], text being in stored form.
func valueEnd(text []byte, i int) int {
	if text[i] == '"' {
		return stringEnd(text, i)
	}
	for depth := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = stringEnd(text, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // it closes what is around a number or literal
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return len(text)
}

const (
	opaquePrefix = `{"$b64":"`
	opaqueSuffix = `"}`
)

// opaque returns the bytes that value stands for when it is, in stored form, exactly {"$b64":"<base64>"}.
func opaque(value []byte) (content []byte, ok bool, err error) {
	if !bytes.HasPrefix(value, []byte(opaquePrefix)) || stringEnd(value, len(opaquePrefix)-1) != len(value)-1 {
		return nil, false, nil
	}
	encoded := value[len(opaquePrefix) : len(value)-len(opaqueSuffix)]
	content, err = base64.StdEncoding.Strict().AppendDecode(nil, encoded)
	if err != nil {
		return nil, true, ErrBase64
	}
	return content, true, nil
}
