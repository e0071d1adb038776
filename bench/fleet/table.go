package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// table is what is printed: Markdown that reads as text.
type table struct{ rows [][columns]string }

const columns = 4

// add adds a row; it is shown at once too, for the whole takes long.
func (t *table) add(measured, figure, reach, detail string) {
	t.rows = append(t.rows, [columns]string{measured, figure, reach, detail})
	progress("%s: %s (%s)", measured, figure, detail)
}

func (t *table) print(w io.Writer) {
	rows := append([][columns]string{{"measured", "Pillion", "reach", "detail"}, {}}, t.rows...)
	var widths [columns]int
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for i, width := range widths {
		rows[1][i] = strings.Repeat("-", width)
	}
	for _, row := range rows {
		for i, cell := range row {
			fmt.Fprint(w, "| ", cell, strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+1))
		}
		fmt.Fprintln(w, "|")
	}
}

// quantile is one of sorted or unsorted times; 1 is the greatest.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }
