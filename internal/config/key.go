package config

import "strings"

// key is one row of the table: all that flags, variables, the file, messages and the reference know about a setting.
type key struct {
	name    string // as in the file; section and key are joined by a dot
	def     string // the default as it would be written, "" for none
	help    string
	example string // "" when the default shows how it is written
	binding
}

// shape says how many values a key takes, and how a text separates them.
type shape uint8

const (
	one   shape = iota
	list        // at newlines and commas
	lines       // at newlines: regexes and key entries have commas of their own
)

// binding ties a key to its field. The functions know the field's type, so nothing is found by reflection.
type binding struct {
	unit   string // what the value is called: duration, size, ...
	shape  shape
	reload bool // a running sidecar takes a new value
	set    func(c *Config, values []string) error
	get    func(c *Config) any // pointer to the field
	adopt  func(c, from *Config)
}

func bind[T any](unit string, shape shape, at func(*Config) *T, parse func(values []string) (T, error)) binding {
	return binding{
		unit:  unit,
		shape: shape,
		set: func(c *Config, values []string) error {
			v, err := parse(values)
			if err == nil {
				*at(c) = v
			}
			return err
		},
		get:   func(c *Config) any { return at(c) },
		adopt: func(c, from *Config) { *at(c) = *at(from) },
	}
}

// live marks a key that a running sidecar takes anew.
func live(b binding) binding {
	b.reload = true
	return b
}

func (k key) flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(k.name) }

func (k key) variable() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

// sample is a value that may be written.
func (k key) sample() string {
	if k.example != "" {
		return k.example
	}
	return k.def
}

func (k key) isBool() bool { return k.unit == boolUnit }

// split separates the values in the text of a flag, a variable or the file.
func (k key) split(text string) []string {
	if k.shape == one {
		return []string{text}
	}
	var values []string
	for v := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == ',' && k.shape == list }) {
		if v = strings.TrimSpace(v); v != "" {
			values = append(values, v)
		}
	}
	return values
}
