package sessioncodec

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func nest(depth int) string {
	return strings.Repeat(`{"a":`, depth-1) + `{}` + strings.Repeat(`}`, depth-1)
}

func names(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"n%d":1`, i)
	}
	return "{" + b.String()[1:] + "}"
}

// H6, H11: each kind of bad text has its class, wherever it is in the text, and no error repeats what the session holds.
func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       error
	}{
		{"empty", ``, ErrSyntax},
		{"cut", `{"secret":"secret`, ErrSyntax},
		{"two values", `{"secret":1} {}`, ErrSyntax},
		{"trailing comma", `{"secret":1,}`, ErrSyntax},
		{"comment", `{"secret":1/**/}`, ErrSyntax},
		{"leading zero", `{"secret":01}`, ErrSyntax},
		{"NaN", `{"secret":NaN}`, ErrSyntax},
		{"invalid UTF-8", "{\"secret\":\"\xff\"}", ErrSyntax},
		{"overlong UTF-8", "{\"secret\":\"\xc0\x80\"}", ErrSyntax},
		{"lone high surrogate", `{"secret":"\ud83d"}`, ErrSyntax},
		{"lone low surrogate", `{"secret":"\ude00"}`, ErrSyntax},
		{"swapped surrogates", `{"secret":"\ude00\ud83d"}`, ErrSyntax},
		{"lone surrogate in a name", `{"secret\ud83d":1}`, ErrSyntax},
		{"control byte in a string", "{\"secret\":\"\x01\"}", ErrSyntax},
		{"array", `[]`, ErrNotObject},
		{"string", ` "secret"`, ErrNotObject},
		{"null", `null`, ErrNotObject},
		{"duplicate", `{"secret":1,"secret":2}`, ErrDuplicate},
		{"duplicate after unescaping", `{"secret":1,"\u0073ecret":2}`, ErrDuplicate},
		{"duplicate inside", `{"a":[{"secret":1,"secret":1}]}`, ErrDuplicate},
		{"too deep", nest(MaxDepth + 1), ErrDepth},
		{"too deep in arrays", `{"a":` + strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth) + `}`, ErrDepth},
		{"too deep and cut", strings.Repeat("[", 100_000), ErrDepth},
		{"too many names", names(MaxNames + 1), ErrTooMany},
		{"too many names inside", `{"a":` + names(MaxNames) + `}`, ErrTooMany},
		{"empty name", `{"a":1,"":2}`, ErrName},
		{"long name", `{"` + strings.Repeat("é", MaxName/2+1) + `":1}`, ErrName},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, errPatch := ParsePatch([]byte(tt.text))
			_, errReplace := ParseReplace([]byte(tt.text), nil)
			for _, err := range []error{errPatch, errReplace} {
				if !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if err != nil && strings.Contains(err.Error(), "secret") {
					t.Errorf("the error shows session data: %v", err)
				}
			}
		})
	}
}

func TestParseAdmitsTheLimitsThemselves(t *testing.T) {
	for _, text := range []string{
		`{}`,
		nest(MaxDepth),
		names(MaxNames),
		`{"` + strings.Repeat("é", MaxName/2) + `":1}`,
		`{"a":"` + strings.Repeat(`{[:\"`, 10_000) + `"}`, // brackets and colons of a string count for nothing
		`{"a":{"":1}}`, // only attributes need a name
	} {
		if _, err := ParsePatch([]byte(text)); err != nil {
			t.Errorf("%.40s: %v", text, err)
		}
	}
}

func TestErrorsSayWhere(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":tru}`:          "at byte 8",
		`{"a":1,"a":2}`:      "at byte 7",
		nest(MaxDepth + 1):   "at byte 160",
		`{"a":1,"":2}`:       "at member 2",
		`{"a":{"$b64":"x"}}`: "at member 1",
	} {
		if _, err := ParsePatch([]byte(text)); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%.40s: got %v, want ... %s", text, err, want)
		}
	}
}

func TestHeaderSafe(t *testing.T) {
	for s, want := range map[string]bool{
		"": true, `{"a":"~ "}`: true, "\t": false, "a\r\nb": false, "\x00": false, "\x7f": false, "\x80": false, "é": false,
	} {
		if got := HeaderSafe(s); got != want {
			t.Errorf("HeaderSafe(%q) = %v", s, got)
		}
	}
}

// The two spellings of one string, as a header and as the loopback API show it, are stored alike; numbers keep their bytes.
func TestNormalize(t *testing.T) {
	for text, want := range map[string]string{
		` { "a" : [ 1.0e+02 , 9007199254740993 , -0 ] } `:        `{"a":[1.0e+02,9007199254740993,-0]}`,
		`"\u00e9\/\ud83d\ude00\u2028\u007f\u0041"`:               "\"é/😀\u2028\x7fA\"",
		"\"é/😀\u2028\x7fA\"":                                     "\"é/😀\u2028\x7fA\"",
		`"\u0000\u001f\n\u000a\"\\\u0022"`:                       `"\u0000\u001f\n\n\"\\\""`,
		`{"b":1,"a":{"\u0064":null}}`:                            `{"b":1,"a":{"d":null}}`,
		`123456789012345678901234567890.123456789012345678901E9`: `123456789012345678901234567890.123456789012345678901E9`,
	} {
		got, err := normalize([]byte(text))
		if err != nil || string(got) != want {
			t.Errorf("normalize(%s) = %s, %v; want %s", text, got, err, want)
		}
	}
}

// members cuts every object in stored form so that the parts make the whole again.
func TestMembersCoverTheObject(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		object := genObject(3).Draw(t, "object")
		stored, err := normalize([]byte(object))
		if err != nil {
			t.Fatalf("%s: %v", object, err)
		}
		var parts []string
		for name, value := range members(stored) {
			parts = append(parts, string(name)+":"+string(value))
		}
		if got := "{" + strings.Join(parts, ",") + "}"; got != string(stored) {
			t.Fatalf("got %s of %s", got, stored)
		}
	})
}

// genObject draws a JSON object with distinct names, in any spelling of its strings.
func genObject(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		keys := rapid.SliceOfNDistinct(genText(), 0, 4, rapid.ID[string]).Draw(t, "names")
		parts := make([]string, len(keys))
		for i, k := range keys {
			parts[i] = spell(t, k) + genSpace(t) + ":" + genValue(depth).Draw(t, "value")
		}
		return "{" + strings.Join(parts, genSpace(t)+",") + "}"
	})
}

// genValue draws any JSON value.
func genValue(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		kinds := 7
		if depth == 0 {
			kinds = 5
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return "null"
		case 1:
			return rapid.SampledFrom([]string{"true", "false"}).Draw(t, "literal")
		case 2:
			return rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number")
		case 3:
			return spell(t, genText().Draw(t, "string"))
		case 4:
			return `{"$b64":"` + rapid.SampledFrom([]string{"", "AA==", "/+8="}).Draw(t, "base64") + `"}`
		case 5:
			return "[" + strings.Join(rapid.SliceOfN(genValue(depth-1), 0, 3).Draw(t, "array"), ","+genSpace(t)) + "]"
		default:
			return genObject(depth-1).Draw(t, "object")
		}
	})
}

// genText draws strings around everything that is special to JSON, headers and UTF-16; never empty.
func genText() *rapid.Generator[string] {
	return rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]rune("abc \"\\/{}[]:,\x00\x1f\n\x7fé\u2028\uffff😀")), 1, 6),
		func(r []rune) string { return string(r) })
}

// spell writes s as a JSON string, each character raw or escaped.
func spell(t *rapid.T, s string) string {
	out := []byte{'"'}
	for _, r := range s {
		if r < 0x20 || r == '"' || r == '\\' || rapid.Bool().Draw(t, "escaped") {
			out = appendEscape(out, r)
		} else {
			out = append(out, string(r)...)
		}
	}
	return string(append(out, '"'))
}

func genSpace(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", " ", "\t", "\n\r"}).Draw(t, "space")
}
