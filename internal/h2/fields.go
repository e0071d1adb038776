package h2

import (
	"net/http"

	"github.com/pillion-proxy/pillion/internal/head"
)

// spare is the room that Fields have for what a Handler adds.
const spare = 8

// fromHeader and toHeader turn net/http's maps into field lines and back. The lines of one name keep their order, which is all
// that RFC 9110, section 5.3 gives a meaning to; the order of names is lost in the map.
func fromHeader(h http.Header) head.Fields {
	lines := 0
	for _, values := range h {
		lines += len(values)
	}
	fields := make(head.Fields, 0, lines+spare)
	for name, values := range h {
		for _, value := range values {
			fields = append(fields, head.Field{Name: name, Value: value})
		}
	}
	return fields
}

func toHeader(h http.Header, fields head.Fields) {
	values := make([]string, len(fields)) // one allocation for all names that occur once
	for i, line := range fields {
		name := http.CanonicalHeaderKey(line.Name)
		if prior, ok := h[name]; ok {
			h[name] = append(prior, line.Value)
			continue
		}
		values[i] = line.Value
		h[name] = values[i : i+1 : i+1]
	}
}

// endTrailer does to net/http's map what EndTrailer does to lines. Names that were only announced have no values yet.
func endTrailer(h http.Header) {
	names := make(head.Fields, 0, len(h))
	for name := range h {
		names.Add(name, "")
	}
	names.EndTrailer()
	for name := range h {
		if !names.Has(name) {
			delete(h, name)
		}
	}
}
