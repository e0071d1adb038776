package head

import "strings"

// Field is one field line; the name keeps the spelling it came with.
type Field struct{ Name, Value string }

// Fields are the field lines of a head, in order. Names compare without case (RFC 9110, section 5.1).
type Fields []Field

// Same tells whether two names, which are of ASCII, are one.
func Same(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

// Get returns the first value of name, "" when there is none.
func (f Fields) Get(name string) string {
	for i := range f {
		if Same(f[i].Name, name) {
			return f[i].Value
		}
	}
	return ""
}

// Has tells whether name occurs at all.
func (f Fields) Has(name string) bool {
	for i := range f {
		if Same(f[i].Name, name) {
			return true
		}
	}
	return false
}

// Values returns every value of name, in order.
func (f Fields) Values(name string) []string {
	var out []string
	for i := range f {
		if Same(f[i].Name, name) {
			out = append(out, f[i].Value)
		}
	}
	return out
}

// Add appends one field line.
func (f *Fields) Add(name, value string) { *f = append(*f, Field{name, value}) }

// Set leaves exactly one line of name.
func (f *Fields) Set(name, value string) {
	f.Del(name)
	f.Add(name, value)
}

// Del removes every line of name.
func (f *Fields) Del(name string) {
	f.Keep(func(n string) bool { return !Same(n, name) })
}

// Keep removes the lines whose name keep refuses; the order stays.
func (f *Fields) Keep(keep func(name string) bool) {
	kept := (*f)[:0]
	for _, line := range *f {
		if keep(line.Name) {
			kept = append(kept, line)
		}
	}
	clear((*f)[len(kept):])
	*f = kept
}
