package config

import (
	"crypto/sha256"
	"errors"
	"os"
	"slices"

	"github.com/spf13/viper"
)

// Load reads the flags, the variables (as from os.Environ) and the file that --config or PILLION_CONFIG names. The error is
// pflag.ErrHelp when the flags ask for help, otherwise an *Error with every mistake.
func Load(args, environ []string) (*Config, error) {
	c, _, err := load(sidecarTable, args, environ)
	return c, err
}

// LoadControlPlane is Load for a control plane, which has settings of its own.
func LoadControlPlane(args, environ []string) (*Config, error) {
	c, _, err := load(planeTable, args, environ)
	return c, err
}

// LoadFront is Load for a front, which has settings of its own.
func LoadFront(args, environ []string) (*Config, error) {
	c, _, err := load(frontTable, args, environ)
	return c, err
}

// Admin returns the admin address and its token, "" for none, for a command that only asks a running sidecar. Mistakes in other
// settings are the sidecar's to report.
func Admin(args, environ []string) (address, token string, err error) {
	l := newLoader(sidecarTable)
	if err := l.gather(args, environ); err != nil {
		return "", "", err
	}
	l.parse()
	l.readFile(l.table.named("admin_token_file"), &l.config.AdminTokenFile, oneLine)
	used := []string{configFlag, "admin", "admin_token_file"}
	l.mistakes = slices.DeleteFunc(l.mistakes, func(m Mistake) bool { return !slices.Contains(used, m.Key) })
	if len(l.mistakes) > 0 {
		return "", "", &Error{l.mistakes}
	}
	return l.config.Admin, string(l.config.AdminTokenFile.Content), nil
}

func load(t *table, args, environ []string) (*Config, snapshot, error) {
	l := newLoader(t)
	if err := l.gather(args, environ); err != nil {
		return nil, nil, err
	}
	if l.bad[configFlag] { // what the file would have said is not missing
		return nil, l.files, &Error{l.mistakes}
	}
	l.parse()
	l.readFiles()
	l.table.check(l)
	if len(l.mistakes) > 0 {
		return nil, l.files, &Error{l.mistakes}
	}
	l.config.files = l.files
	return l.config, l.files, nil
}

// loader is one reading of all sources.
type loader struct {
	table    *table
	config   *Config
	files    snapshot
	mistakes []Mistake
	bad      map[string]bool // keys with a mistake, which rules about several keys leave alone
}

func newLoader(t *table) *loader {
	return &loader{table: t, config: &Config{table: t, settings: map[string]setting{}}, files: snapshot{}, bad: map[string]bool{}}
}

// snapshot remembers what the files held that were read; the zero sum stands for a file that could not be read.
type snapshot map[string][sha256.Size]byte

func (s snapshot) read(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	s[path] = [sha256.Size]byte{}
	if err == nil {
		s[path] = sha256.Sum256(content)
	}
	return content, err
}

func (l *loader) add(m Mistake) {
	l.mistakes = append(l.mistakes, m)
	l.bad[m.Key] = true
}

// mistake is one of the value of a key.
func (l *loader) mistake(name, text string) {
	l.add(Mistake{Key: name, Source: l.config.settings[name].source, Text: text})
}

// unknown is a name that no key has.
func (l *loader) unknown(name, source, prefix, meant string) {
	text := "is unknown"
	switch {
	case prefix != "":
	case l.table != sidecarTable && sidecarTable.has(name):
		text = "is a setting of sidecars"
	case l.table != planeTable && planeTable.has(name):
		text, meant = "is a setting of the control plane: 'pillion config check control-plane' checks its file", ""
	case l.table != frontTable && frontTable.has(name):
		text, meant = "is a setting of fronts: 'pillion config check front' checks their file", ""
	}
	if meant != "" {
		text += "; did you mean " + prefix + meant + "?"
	}
	l.add(Mistake{Key: name, Source: source, Text: text})
}

// gather collects the text of every key from its strongest source. viper holds the file and the defaults; variables and flags
// are Set over them, in this order, because viper's own binding of variables reads the process and splits at every comma.
func (l *loader) gather(args, environ []string) error {
	flags, err := l.parseFlags(args)
	if err != nil {
		return err
	}
	env := l.variables(environ)
	v := viper.New()
	sources := l.readYAML(v, fileName(flags, env))
	for _, k := range l.table.keys {
		if text, ok := env[k.variable()]; ok {
			v.Set(k.name, k.split(text))
			sources[k.name] = "env " + k.variable()
		}
		if given := flags[k.flag()]; given != nil {
			var values []string
			for _, text := range given {
				values = append(values, k.split(text)...)
			}
			v.Set(k.name, values)
			sources[k.name] = "flag --" + k.flag()
		}
		if k.def != "" {
			v.SetDefault(k.name, k.split(k.def))
		}
		l.settle(k, v.Get(k.name), sources[k.name])
	}
	return nil
}

// settle records the value of a key, and who gave it.
func (l *loader) settle(k key, value any, source string) {
	if value == nil {
		return
	}
	if source == "" {
		source = "default"
	}
	values, err := texts(k, value)
	l.config.settings[k.name] = setting{values, source}
	if err != nil {
		l.mistake(k.name, err.Error())
	}
}

// parse turns the texts into the typed values.
func (l *loader) parse() {
	for _, k := range l.table.keys {
		s, ok := l.config.settings[k.name]
		if !ok || l.bad[k.name] {
			continue
		}
		for _, text := range reasons(k.set(l.config, s.values)) {
			l.mistake(k.name, text+"; for example "+k.sample())
		}
	}
}

// reasons takes joined errors apart, so that each wrong value is a mistake of its own.
func reasons(err error) []string {
	if err == nil {
		return nil
	}
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []string{err.Error()}
	}
	var all []string
	for _, e := range joined.Unwrap() {
		all = append(all, reasons(e)...)
	}
	return all
}
