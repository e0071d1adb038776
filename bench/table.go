package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// table is what bench prints: Markdown that reads as text.
type table struct {
	about []string
	rows  [][columns]string
}

const columns = 5

func (t *table) add(measured, pillion, against, ratio, detail string) {
	t.rows = append(t.rows, [columns]string{measured, pillion, against, ratio, detail})
}

func (t *table) print(w io.Writer) error {
	rows := append([][columns]string{{"measured", "Pillion", "compared with", "ratio", "range, detail"}, {}}, t.rows...)
	var widths [columns]int
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for i, width := range widths {
		rows[1][i] = strings.Repeat("-", width)
	}
	var b strings.Builder
	for _, line := range t.about {
		b.WriteString(line + "\n")
	}
	b.WriteString("\n")
	for _, row := range rows {
		for i, cell := range row {
			b.WriteString("| " + cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+1))
		}
		b.WriteString("|\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// spread is the median of some figures, and their range.
type spread struct{ low, median, high float64 }

func spreadOf(figures []float64) spread {
	sorted := slices.Sorted(slices.Values(figures))
	n := len(sorted)
	return spread{sorted[0], (sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[n-1]}
}

func (s spread) ratio() string { return fmt.Sprintf("%.2f", s.median) }
func (s spread) width() string { return fmt.Sprintf("%.2f to %.2f", s.low, s.high) }
