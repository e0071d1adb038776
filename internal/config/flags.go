package config

import (
	"errors"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// configFlag names the file; it is no key, for a file cannot name itself.
const (
	configFlag = "config"
	configEnv  = envPrefix + "CONFIG"
)

// Chapter is the annotation of a flag that names its chapter in the reference.
const Chapter = "chapter"

// Flags returns the flags that Load takes, for a command's help.
func Flags() *pflag.FlagSet { return sidecarTable.flags() }

// ControlPlaneFlags returns the flags that LoadControlPlane takes.
func ControlPlaneFlags() *pflag.FlagSet { return planeTable.flags() }

// FrontFlags returns the flags that LoadFront takes.
func FrontFlags() *pflag.FlagSet { return frontTable.flags() }

func (t *table) flags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("pillion", pflag.ContinueOnError)
	fs.SortFlags = false
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.Var(&flagValue{unit: "file"}, configFlag, "YAML file with any of these settings")
	for _, s := range t.sections {
		for _, k := range s.keys {
			f := fs.VarPF(&flagValue{unit: k.unit}, k.flag(), "", k.help)
			f.DefValue = k.def
			if len(t.sections) > 1 {
				f.Annotations = map[string][]string{Chapter: {s.title}}
			}
			if k.isBool() {
				f.NoOptDefVal = "true"
			}
		}
	}
	return fs
}

// flagValue collects what a flag was given. It judges nothing: pflag would stop at the first mistake.
type flagValue struct {
	unit  string
	given []string
}

func (v *flagValue) Set(text string) error {
	v.given = append(v.given, text)
	return nil
}

func (v *flagValue) String() string { return strings.Join(v.given, "\n") }
func (v *flagValue) Type() string   { return v.unit }

// parseFlags returns what each flag was given, by its name. Unknown flags are mistakes; pflag.ErrHelp is for the caller.
func (l *loader) parseFlags(args []string) (map[string][]string, error) {
	fs := l.table.flags()
	fs.ParseErrorsAllowlist.UnknownFlagsHandling = pflag.PassUnknownFlagToArgs
	if err := fs.Parse(args); errors.Is(err, pflag.ErrHelp) {
		return nil, err
	} else if err != nil {
		l.add(Mistake{Key: "flags", Text: err.Error()})
	}
	l.unknownFlags(fs.Args())
	given := map[string][]string{}
	fs.Visit(func(f *pflag.Flag) { given[f.Name] = f.Value.(*flagValue).given })
	return given, nil
}

// unknownFlags looks at what pflag left: unknown flags, perhaps with their values, and words that are no flags.
func (l *loader) unknownFlags(rest []string) {
	known := []string{configFlag}
	for _, k := range l.table.keys {
		known = append(known, k.flag())
	}
	for i := 0; i < len(rest); i++ {
		if !strings.HasPrefix(rest[i], "-") {
			l.add(Mistake{Key: rest[i], Source: "argument", Text: "is not a flag; a value is written --NAME=VALUE"})
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(rest[i], "-"), "=")
		if !hasValue && i+1 < len(rest) && !strings.HasPrefix(rest[i+1], "-") {
			i++
		}
		l.unknown("--"+name, "flag", "--", nearest(name, known))
	}
}
