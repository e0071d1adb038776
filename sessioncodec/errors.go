package sessioncodec

import "errors"

// The classes of an Error, in the order in which Open checks them. They are few and fixed: metric labels.
const (
	ClassTruncated   = "truncated"   // shorter than a header and what its protection needs
	ClassMagic       = "magic"       // not a blob of ours
	ClassVersion     = "version"     // a layout that this reader does not know
	ClassAlgorithm   = "algorithm"   // a compression or protection that this reader does not know or is told to refuse
	ClassKey         = "key"         // sealed under a key that is not configured
	ClassChecksum    = "checksum"    // not what was written, or for another space or storage key
	ClassAuth        = "auth"        // not what a holder of the key wrote for this space and storage key
	ClassHeader      = "header"      // a header that no writer makes
	ClassLimit       = "limit"       // more than this codec handles
	ClassCompression = "compression" // does not decompress
	ClassLength      = "length"      // a length that does not fit what is there
	ClassCritical    = "critical"    // a critical extension that this reader does not know
	ClassCanonical   = "canonical"   // a second spelling of what has only one, or a header that contradicts the payload
)

// Error is why Open rejected a blob or Seal refused a record. It holds nothing of the session.
type Error struct {
	Class  string
	Detail string
}

func (e *Error) Error() string { return "sessioncodec: " + e.Class + ": " + e.Detail }

// Class returns the class of an error of this package, "" for any other.
func Class(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return ""
}

func fail(class, detail string) error { return &Error{Class: class, Detail: detail} }
