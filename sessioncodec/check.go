package sessioncodec

import "unicode/utf8"

// check is what Seal asks of a record and Open of a payload: one spelling for each, and nothing that the header contradicts.
func (r *Record) check() error {
	if r.Created < 0 || r.Accessed < 0 || r.State > Destroyed || len(r.Owner.Route) > 255 {
		return fail(ClassHeader, "a negative time, an unknown state or a route over 255 bytes")
	}
	if r.extensionCount() > MaxExtensions || len(r.Entries) > MaxEntries {
		return fail(ClassLimit, "too many extensions or entries")
	}
	for i := range r.Extensions {
		if r.Extensions[i].ID >= firstCritical || (i > 0 && byID(&r.Extensions[i-1], &r.Extensions[i]) >= 0) {
			return fail(ClassCanonical, "extensions that do not ascend below 64")
		}
	}
	for i := range r.Entries {
		if err := r.Entries[i].check(r); err != nil {
			return err
		}
		if i > 0 && byName(&r.Entries[i-1], &r.Entries[i]) >= 0 {
			return fail(ClassCanonical, "entries that do not ascend")
		}
	}
	return nil
}

func (e *Entry) check(r *Record) error {
	switch {
	case len(e.Name) > MaxName:
		return fail(ClassLimit, "a name longer than this codec handles")
	case e.Name == "" || !utf8.ValidString(e.Name):
		return fail(ClassCanonical, "a name that is empty or not UTF-8")
	case e.Kind == Deleted && len(e.Value) > 0:
		return fail(ClassCanonical, "a deleted entry with a value")
	case e.Stamp.Clock < uint64(r.Created):
		return fail(ClassCanonical, "a write before the session was created: the writer did not raise its clock")
	case e.Kind == Reserved && e.Name == idleName:
		if idle, ok := parseIdle(e.Value); !ok || idle != r.Idle {
			return fail(ClassCanonical, "an idle entry that is no number of seconds, or not the header's")
		}
	}
	return nil
}
