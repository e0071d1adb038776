package config

import (
	"fmt"
	"strings"
)

const preface = `# Configuration

This file is printed by ` + "`pillion config reference`" + `; a test keeps it in step.

Flags, ` + "`PILLION_*`" + ` variables and one YAML file (` + "`--config FILE`" + ` or ` + "`PILLION_CONFIG`" + `) set the same things, and the first of them that
sets a value wins: ` + "`ring.nodes`" + ` is the flag ` + "`--ring-nodes`" + ` and the variable ` + "`PILLION_RING_NODES`" + `. In the file:

` + "```yaml" + `
app: shop
upstream: http://127.0.0.1:3000
ring:
  nodes:
    - n1=10.100.0.20:11211
    - n2=10.100.0.21:11211
keys:
  - {id: 1, file: /etc/pillion/key-1, use: seal}
` + "```" + `

- Unknown keys, flags and variables are mistakes, and so is a key given twice. All mistakes are reported at once;
  ` + "`pillion config check`" + ` reports them without starting anything, and ` + "`pillion config print`" + ` shows what is in force and who said it.
- Lists: a YAML list, a repeated flag, or one text with the values separated by newlines or commas. Regexes and ` + "`keys`" + ` entries
  contain commas, so only newlines separate those. A list replaces the list of a weaker source.
- Durations are numbers with ` + "`ms`, `s`, `m` or `h`" + `; sizes are whole numbers of bytes, or with ` + "`KiB`, `MiB` or `GiB`" + `.
- An empty variable counts as not set. Variables that Kubernetes sets for a service called ` + "`pillion`" + ` are ignored.
- Relative paths are relative to the working directory, not to the file.
- A key file is 32 raw bytes, 64 hex or 44 base64 characters. ` + "`pillion config key FILE`" + ` makes one.
- A running process takes new values of the keys marked ⟳, on SIGHUP and within 2 seconds of a change to the file or to a file it
  names. A change to any other key is reported as needing a restart. A file with mistakes changes nothing and is reported.
`

const planePreface = `
# The control plane's

` + "`pillion control-plane`" + ` has only these keys, in flags, variables and a file of its own; the rules above apply to them too.
` + "`pillion config check control-plane`" + ` and ` + "`pillion config print control-plane`" + ` are for its file.
`

const frontPreface = `
# A front's

` + "`pillion front`" + ` has only these keys. ` + "`pillion config check front`" + ` and ` + "`pillion config print front`" + ` are for its file.
`

// Reference returns docs/configuration.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(preface)
	sidecarTable.describe(&b)
	b.WriteString(planePreface)
	planeTable.describe(&b)
	b.WriteString(frontPreface)
	frontTable.describe(&b)
	return b.String()
}

func (t *table) describe(b *strings.Builder) {
	for _, s := range t.sections {
		fmt.Fprintf(b, "\n## %s\n\n| key | takes | default | |\n|---|---|---|---|\n", s.title)
		for _, k := range s.keys {
			mark := ""
			if k.reload {
				mark = " ⟳"
			}
			fmt.Fprintf(b, "| `%s`%s | %s | %s | %s |\n", k.name, mark, k.unit, code(k.def), description(k))
		}
	}
}

func description(k key) string {
	text := strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(k.help)
	if k.example != "" {
		text += ". Example: " + code(k.example)
	}
	return text
}

// code quotes text for a table cell, where even inside code a bar needs a backslash.
func code(text string) string {
	if text == "" {
		return "-"
	}
	return "`" + strings.ReplaceAll(text, "|", `\|`) + "`"
}
