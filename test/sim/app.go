package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pillion-proxy/pillion/internal/head"
)

// The app of the simulation keeps in its sessions
//
//	f12   1       what step 12 added and nobody else touches
//	d12   1       what step 12 planted and a later step may delete
//	o     {k12:1} one object into which steps merge
//	r     12      the step that wrote last
//	c     5       the counter
//	x7    1       one of a heap of attributes that come and go together
//
// so that each later request can tell which steps its session has seen.

// view is what the app was given.
type view struct {
	loaded   bool
	names    map[string]bool // f12, d12, k12
	register int
	counter  int
	raw      map[string]json.RawMessage
}

// deed is what the app asked for.
type deed struct {
	any      bool
	adds     []string // names that are there afterwards
	deletes  string   // a name that is not
	register int
	counter  int // the value written
	renew    bool
	destroy  bool
	login    bool
	revoke   bool // of the operator, not the app
}

// subject is whom a visitor's sessions are bound to.
func subject(visitor int) string { return "v" + strconv.Itoa(visitor) }

// request is the step's request as the front passes it on.
func (s Step) request(shown string) head.Head {
	h := head.Head{Method: "POST", Target: "/act", Authority: "shop.test"}
	if s.Action == Read {
		h.Method, h.Target = "GET", "/read"
	}
	if shown != "" {
		h.Fields.Add("Cookie", cookie.Name+"="+shown)
	}
	return h
}

// see reads Pillion-Session.
func see(request *head.Head) view {
	v := view{names: map[string]bool{}, raw: map[string]json.RawMessage{}}
	v.loaded = strings.Contains(request.Fields.Get("Pillion-Meta"), "new=?0")
	must(json.Unmarshal([]byte(request.Fields.Get("Pillion-Session")), &v.raw))
	for name, value := range v.raw {
		switch name {
		case "o":
			members := map[string]json.RawMessage{}
			must(json.Unmarshal(value, &members))
			for member := range members {
				v.names[member] = true
			}
		case "r":
			must(json.Unmarshal(value, &v.register))
		case "c":
			must(json.Unmarshal(value, &v.counter))
		default:
			if name[0] != 'x' {
				v.names[name] = true
			}
		}
	}
	return v
}

// planted is the first attribute that may be deleted.
func (v view) planted() string {
	for _, name := range slices.Sorted(maps.Keys(v.raw)) {
		if name[0] == 'd' {
			return name
		}
	}
	return ""
}

// act is what the app does in a step, given what it sees.
func act(s Step, v view) (head.Fields, deed) {
	n := strconv.Itoa(s.N)
	patch := func(text string) head.Fields { return head.Fields{{Name: "Pillion-Patch", Value: text}} }
	planted := v.planted()
	if s.Action == Delete && planted == "" {
		s.Action = Plant
	}
	switch s.Action {
	case Flag:
		return patch(`{"f` + n + `":1}`), deed{any: true, adds: []string{"f" + n}}
	case Merge:
		return patch(`{"o":{"k` + n + `":1}}`), deed{any: true, adds: []string{"k" + n}}
	case Register:
		return patch(`{"r":` + n + `}`), deed{any: true, register: s.N}
	case Plant:
		return patch(`{"d` + n + `":1}`), deed{any: true, adds: []string{"d" + n}}
	case Delete:
		return patch(`{"` + planted + `":null}`), deed{any: true, deletes: planted}
	case Count:
		return patch(fmt.Sprintf(`{"c":%d}`, v.counter+1)), deed{any: true, counter: v.counter + 1}
	case Replace:
		whole := maps.Clone(v.raw)
		delete(whole, planted)
		whole["f"+n] = json.RawMessage("1")
		text, err := json.Marshal(whole)
		must(err)
		return head.Fields{{Name: "Pillion-Replace", Value: string(text)}}, deed{any: true, adds: []string{"f" + n}, deletes: planted}
	case Renew:
		return append(patch(`{"f`+n+`":1}`), head.Field{Name: "Pillion-Op", Value: "renew"}), deed{any: true, adds: []string{"f" + n}, renew: v.loaded}
	case Fill, Empty:
		return patch(heap(s.Action == Fill)), deed{any: true}
	case Login:
		fields := append(patch(`{"f`+n+`":1}`), head.Field{Name: "Pillion-Subject", Value: strconv.Quote(subject(s.Visitor))})
		return fields, deed{any: true, adds: []string{"f" + n}, login: true}
	case Destroy:
		return head.Fields{{Name: "Pillion-Op", Value: "destroy"}}, deed{any: v.loaded, destroy: v.loaded}
	}
	return nil, deed{}
}

// heaped is more deletions than a session remembers when they are a minute old.
const heaped = mostDeletions + 50

// heap is the patch that adds the heap, or deletes it.
func heap(add bool) string {
	values := map[string]any{}
	for i := range heaped {
		values["x"+strconv.Itoa(i)] = map[bool]any{true: 1, false: nil}[add]
	}
	text, err := json.Marshal(values)
	must(err)
	return string(text)
}

// setCookie returns the id that an answer hands out, "-" where it takes the cookie away, "" where it says nothing.
func setCookie(response *head.Head) string {
	value := response.Fields.Get("Set-Cookie")
	if value == "" {
		return ""
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(value, cookie.Name+"="), ";")
	if id == "" {
		return "-"
	}
	return id
}

// token is the reason of an answer that Pillion made itself, "" for one of the app's.
func token(response *head.Head) string {
	_, reason, _ := strings.Cut(response.Fields.Get("Proxy-Status"), "error=")
	reason, _, _ = strings.Cut(reason, ";")
	return reason
}
