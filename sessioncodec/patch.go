package sessioncodec

import (
	"bytes"
	"fmt"
)

// Op is what a Change does to its attribute.
type Op uint8

// The operations. Put and Delete ignore what the attribute held; Merge is computed on it, again after each conflict.
const (
	Delete Op = iota
	Put
	Merge
)

// Change is the app's intent for one attribute.
type Change struct {
	Name  string
	Op    Op
	Kind  Kind   // of a Put: JSON or Opaque
	Value []byte // the value of a Put, the merge patch of a Merge, nil of a Delete
}

// ParsePatch reads an RFC 7396 merge patch of the whole session: null deletes an attribute, an object is merged into it, any
// other value replaces it. An object that is exactly {"$b64":"<base64>"} is opaque bytes and replaces too.
func ParsePatch(text []byte) ([]Change, error) {
	changes, err := parseObject(text)
	if err != nil {
		return nil, err
	}
	for i := range changes {
		c := &changes[i]
		switch {
		case isNull(c.Value):
			c.Op, c.Value = Delete, nil
		case c.Value[0] != '{':
			c.detach(text)
		default:
			if err := c.open(); err != nil {
				return nil, fmt.Errorf("%w, at member %d", err, i+1)
			}
			if c.Kind == JSON {
				c.Op = Merge
			}
		}
	}
	return changes, nil
}

// ParseReplace reads the whole session as the app wants it and returns the difference to base, the record the app was given (nil
// when there was none), so that what other requests changed meanwhile survives. A value equal to what AppendObject showed is no
// change, however its strings are escaped. Unlike in a patch, null is a value here.
func ParseReplace(text []byte, base *Record) ([]Change, error) {
	wanted, err := parseObject(text)
	if err != nil {
		return nil, err
	}
	given := map[string]*Entry{}
	if base != nil {
		for i := range base.Entries {
			if e := &base.Entries[i]; e.shown() {
				given[e.Name] = e
			}
		}
	}
	changes := wanted[:0]
	for i, c := range wanted {
		e := given[c.Name]
		delete(given, c.Name)
		if e != nil && e.reads(c.Value) {
			continue
		}
		if err := c.open(); err != nil {
			return nil, fmt.Errorf("%w, at member %d", err, i+1)
		}
		c.detach(text)
		changes = append(changes, c)
	}
	if len(given) > 0 {
		for i := range base.Entries {
			if e := &base.Entries[i]; given[e.Name] == e {
				changes = append(changes, Change{Name: e.Name, Op: Delete})
			}
		}
	}
	return changes, nil
}

// maxDrag is how many bytes of the app's text may stay in memory for the sake of a value that lies among them.
const maxDrag = 128

// detach gives a value of text memory of its own: a small change must not keep the whole text.
func (c *Change) detach(text []byte) {
	if len(text)-len(c.Value) > maxDrag {
		c.Value = bytes.Clone(c.Value)
	}
}

// open turns the JSON spelling of opaque bytes into the bytes.
func (c *Change) open() error {
	content, ok, err := opaque(c.Value)
	if ok {
		c.Kind, c.Value = Opaque, content
	}
	return err
}

// reads tells whether the app reads the entry as value, which is in stored form.
func (e *Entry) reads(value []byte) bool {
	if e.Kind == JSON && bytes.Equal(e.Value, value) {
		return true
	}
	shown, err := normalize(appendValue(nil, e))
	return err == nil && bytes.Equal(shown, value)
}

// MergePatch applies an RFC 7396 patch to the value of one attribute and returns the result in stored form. A target that is nil
// or no object counts as {}. Members of target keep their order, new ones follow in the patch's; numbers keep their bytes.
func MergePatch(target, patch []byte) ([]byte, error) {
	patch, err := normalize(patch)
	if err != nil {
		return nil, err
	}
	if target != nil {
		if target, err = normalize(target); err != nil {
			return nil, fmt.Errorf("stored value: %w", err)
		}
	}
	return appendMerge(make([]byte, 0, len(target)+len(patch)), target, patch), nil
}

// appendMerge appends target after patch, all in stored form: equal names are then equal bytes.
func appendMerge(dst, target, patch []byte) []byte {
	if patch[0] != '{' {
		return append(dst, patch...)
	}
	changes := map[string][]byte{}
	for name, value := range members(patch) {
		changes[string(name)] = value
	}
	dst = append(dst, '{')
	empty := len(dst)
	add := func(name, target, patch []byte) {
		if isNull(patch) {
			return
		}
		if len(dst) > empty {
			dst = append(dst, ',')
		}
		dst = append(append(dst, name...), ':')
		if patch == nil {
			dst = append(dst, target...)
		} else {
			dst = appendMerge(dst, target, patch)
		}
	}
	for name, value := range members(target) {
		add(name, value, changes[string(name)])
		delete(changes, string(name))
	}
	for name, value := range members(patch) {
		if _, left := changes[string(name)]; left {
			add(name, nil, value)
		}
	}
	return append(dst, '}')
}

func isNull(value []byte) bool { return string(value) == "null" }
