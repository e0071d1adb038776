package config

import (
	"fmt"
	"strings"
)

// Mistake is one thing to correct.
type Mistake struct {
	Key    string // as in the file; the flag or variable as it was written when no key has that name
	Source string
	Text   string
}

func (m Mistake) String() string {
	if m.Source == "" {
		return m.Key + ": " + m.Text
	}
	return m.Key + " (" + m.Source + "): " + m.Text
}

// Error is all mistakes of one configuration.
type Error struct{ Mistakes []Mistake }

// Error lists the mistakes, one on each line.
func (e *Error) Error() string {
	if len(e.Mistakes) == 1 {
		return e.Mistakes[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d mistakes in the configuration", len(e.Mistakes))
	for _, m := range e.Mistakes {
		b.WriteString("\n  ")
		b.WriteString(m.String())
	}
	return b.String()
}

// Hint says where the keys are explained.
func (e *Error) Hint() string { return "'pillion config reference' explains every key" }

// nearest returns the known name that was probably meant, "" when none is near.
func nearest(name string, known []string) string {
	best, bestDistance := "", max(2, len(name)/3)+1
	for _, k := range known {
		d := distance(name, k)
		if lastPart(name) == lastPart(k) {
			d = min(d, 1) // the right word in the wrong section, or in none
		}
		if d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

func lastPart(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// distance counts the characters to insert, delete or replace (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
