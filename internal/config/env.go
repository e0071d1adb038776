package config

import (
	"regexp"
	"slices"
	"strings"
)

const envPrefix = "PILLION_"

// foreign are names with our prefix that others make: Kubernetes, for a service called pillion or pillion-*, and the app's own.
var foreign = regexp.MustCompile(`^PILLION_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)$|^PILLION_APP_KEY_FILE$`)

// variables returns the PILLION_* variables that are not empty, by name.
func (l *loader) variables(environ []string) map[string]string {
	env := map[string]string{}
	known := []string{configEnv}
	for _, k := range l.table.keys {
		known = append(known, k.variable())
	}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case value == "", !strings.HasPrefix(name, envPrefix), foreign.MatchString(name):
		case slices.Contains(known, name):
			env[name] = value
		default:
			l.unknown(name, "env", "", nearest(name, known))
		}
	}
	return env
}

// fileName returns the file that was named, "" for none.
func fileName(flags map[string][]string, env map[string]string) string {
	if given := flags[configFlag]; given != nil {
		return given[len(given)-1]
	}
	return env[configEnv]
}
