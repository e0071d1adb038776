package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

var columns = []string{
	"row", "mode", "requests", "failed", "lost", "went back", "resurrected", "changed ids", "503", "p50", "p99", "p99.9", "slowest", "lost with msm",
}

// table is Markdown that reads as text.
type table struct {
	rows  [][]string
	notes []string
}

func (t *table) add(r row, v variant, res result) {
	slices.Sort(res.took)
	changed := strconv.Itoa(res.changed)
	if res.renamed > 0 {
		changed += fmt.Sprintf(" (%d new)", res.renamed)
	}
	cells := []string{r.name, v.mode}
	for _, n := range []int{res.requests, res.failed, res.lost, res.wentBack, res.resurrected} {
		cells = append(cells, strconv.Itoa(n))
	}
	cells = append(cells, changed, strconv.Itoa(res.unavailable))
	for _, q := range []float64{0.5, 0.99, 0.999, 1} {
		cells = append(cells, milliseconds(quantile(res.took, q)))
	}
	t.rows = append(t.rows, append(cells, v.msm))
	name := r.name + "/" + v.mode + ": "
	for _, token := range slices.Sorted(maps.Keys(res.tokens)) {
		res.notes = append(res.notes, fmt.Sprintf("503 %s %d", token, res.tokens[token]))
	}
	if len(res.notes) > 0 {
		t.notes = append(t.notes, name+strings.Join(res.notes, ", "))
	}
	for _, problem := range res.problems {
		t.notes = append(t.notes, name+"PROBLEM "+problem)
	}
}

// quantile is the least of the sorted times that the part q of all does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func milliseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64)
}

func (t *table) print(w io.Writer) error {
	rows := append([][]string{columns, make([]string, len(columns))}, t.rows...)
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for i, width := range widths {
		rows[1][i] = strings.Repeat("-", width)
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			b.WriteString("| " + cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+1))
		}
		b.WriteString("|\n")
	}
	if len(t.notes) > 0 {
		b.WriteString("\n" + strings.Join(t.notes, "\n") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
