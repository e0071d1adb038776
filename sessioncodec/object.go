package sessioncodec

import (
	"encoding/base64"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendObject appends the attributes of r as the app sees them in Pillion-Session: a JSON object in the bytes 0x20 to 0x7E
// (H10), members in the order of the entries. Opaque bytes are {"$b64":"<base64>"}; deleted, reserved and unknown entries are
// left out. A nil record is {}.
func AppendObject(dst []byte, r *Record) []byte {
	dst = append(dst, '{')
	if r != nil {
		empty := len(dst)
		for i := range r.Entries {
			e := &r.Entries[i]
			if !e.shown() {
				continue
			}
			if len(dst) > empty {
				dst = append(dst, ',')
			}
			dst = appendName(dst, e.Name)
			dst = append(dst, ':')
			dst = appendValue(dst, e)
		}
	}
	return append(dst, '}')
}

// shown tells whether the app sees the entry.
func (e *Entry) shown() bool { return e.Kind == JSON || e.Kind == Opaque }

func appendValue(dst []byte, e *Entry) []byte {
	if e.Kind == JSON {
		return appendASCII(dst, e.Value)
	}
	dst = append(dst, opaquePrefix...)
	dst = base64.StdEncoding.AppendEncode(dst, e.Value)
	return append(dst, opaqueSuffix...)
}

func appendName(dst []byte, name string) []byte {
	dst = append(dst, '"')
	for _, r := range name {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20 || r > 0x7E:
			dst = appendEscape(dst, r)
		default:
			dst = append(dst, byte(r))
		}
	}
	return append(dst, '"')
}

// appendASCII copies JSON text. What is not ASCII, and DEL, can only stand within strings and is escaped; what is below 0x20 can
// only be whitespace between tokens and is dropped.
func appendASCII(dst, text []byte) []byte {
	for len(text) > 0 {
		n := printable(text)
		dst = append(dst, text[:n]...)
		if text = text[n:]; len(text) == 0 {
			break
		}
		r, size := utf8.DecodeRune(text)
		if r >= 0x20 {
			dst = appendEscape(dst, r)
		}
		text = text[size:]
	}
	return dst
}

// printable counts the leading bytes of text from 0x20 to 0x7E, eight at a time. In a word of such bytes neither the subtraction
// nor the addition carries or sets a high bit; the lowest byte outside sets its own.
func printable(text []byte) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(text)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(text[n:])
		if (w|(w-0x20*ones)|(w+ones))&high != 0 {
			break
		}
	}
	for n < len(text) && text[n] >= 0x20 && text[n] <= 0x7E {
		n++
	}
	return n
}

// appendEscape spells r as \uXXXX, above U+FFFF as a surrogate pair.
func appendEscape(dst []byte, r rune) []byte {
	if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
		return appendEscape(appendEscape(dst, high), low)
	}
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
