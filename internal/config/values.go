package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The bindings by kind of value. An error says what is wrong with the text; Load adds the key, the source and an example.

const boolUnit = "bool"

// single makes a parser of one value.
func single[T any](parse func(string) (T, error)) func([]string) (T, error) {
	return func(values []string) (v T, err error) {
		if len(values) != 1 {
			return v, fmt.Errorf("is given %d times and takes one value", len(values))
		}
		return parse(values[0])
	}
}

// each makes a parser of many values that reports every wrong one.
func each[T any](parse func(string) (T, error)) func([]string) ([]T, error) {
	return func(values []string) ([]T, error) {
		var all []T
		var wrong []error
		for _, text := range values {
			v, err := parse(text)
			if err != nil {
				wrong = append(wrong, err)
				continue
			}
			all = append(all, v)
		}
		return all, errors.Join(wrong...)
	}
}

// matching makes a parser of texts that fit a pattern.
func matching(pattern, what string) func(string) (string, error) {
	re := regexp.MustCompile(`^(?:` + pattern + `)$`)
	return func(text string) (string, error) {
		if !re.MatchString(text) {
			return "", fmt.Errorf("%q is not %s", text, what)
		}
		return text, nil
	}
}

func text(unit string, at func(*Config) *string, pattern, what string) binding {
	return bind(unit, one, at, single(matching(pattern, what)))
}

func name(at func(*Config) *string) binding {
	return text("name", at, `[a-z0-9_]{1,32}`, "1 to 32 of a-z, 0-9 and _")
}

func route(at func(*Config) *string) binding {
	return text("name", at, routePattern, "1 to 32 of a-z, 0-9 and -")
}

const hostPattern = `[A-Za-z0-9._-]{1,253}`

func hostName(at func(*Config) *string) binding {
	return text("name", at, hostPattern, "a host name")
}

func hostNames(at func(*Config) *[]string) binding {
	return bind("names", list, at, each(matching(hostPattern, "a host name without port")))
}

func path(at func(*Config) *string) binding {
	return text("path", at, `/[!-~]*`, "a path that begins with /")
}

// cookieName admits the token of RFC 6265, section 4.1.1.
func cookieName(at func(*Config) *string) binding {
	return text("name", at, "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", "a cookie name")
}

func boolean(at func(*Config) *bool) binding {
	return bind(boolUnit, one, at, single(func(text string) (bool, error) {
		if text != "true" && text != "false" {
			return false, fmt.Errorf("%q is neither true nor false", text)
		}
		return text == "true", nil
	}))
}

func choice[T ~string](at func(*Config) *T, all ...T) binding {
	return bind("word", one, at, single(func(text string) (T, error) {
		if !slices.Contains(all, T(text)) {
			return "", fmt.Errorf("%q is none of %s", text, words(all))
		}
		return T(text), nil
	}))
}

func words[T ~string](all []T) string {
	var b strings.Builder
	for i, w := range all {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}

func duration(at func(*Config) *time.Duration) binding {
	return bind("duration", one, at, single(parseDuration))
}

func positive(at func(*Config) *time.Duration) binding {
	return bind("duration", one, at, single(func(text string) (time.Duration, error) {
		d, err := parseDuration(text)
		if err == nil && d == 0 {
			return 0, errors.New("must be more than 0")
		}
		return d, err
	}))
}

// seconds reads a time that is kept in whole seconds, in records or cookies.
func seconds(at func(*Config) *time.Duration, least time.Duration) binding {
	return bind("duration", one, at, single(func(text string) (time.Duration, error) {
		d, err := parseDuration(text)
		if err == nil && (d < least || d > longest || d%time.Second != 0) {
			return 0, fmt.Errorf("%q is not %v to %v in whole seconds", text, least, longest)
		}
		return d, err
	}))
}

// longest is ten years.
const longest = 87600 * time.Hour

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is no duration: a number with ms, s, m or h", text)
	case d < 0:
		return 0, fmt.Errorf("%q is less than 0", text)
	}
	return d, nil
}

func regexes(at func(*Config) *[]*regexp.Regexp) binding {
	return bind("regexes", lines, at, each(func(text string) (*regexp.Regexp, error) {
		re, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("%q does not compile: %w", text, err)
		}
		return re, nil
	}))
}

// networks reads CIDR prefixes, or single addresses.
func networks(at func(*Config) *[]netip.Prefix) binding {
	return bind("networks", list, at, each(func(text string) (netip.Prefix, error) {
		if addr, err := netip.ParseAddr(text); err == nil {
			return netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return p, fmt.Errorf("%q is no network", text)
		}
		return p.Masked(), nil
	}))
}

func level(at func(*Config) *slog.Level) binding {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	return bind("word", one, at, single(func(text string) (slog.Level, error) {
		l, ok := levels[text]
		if !ok {
			return 0, fmt.Errorf("%q is none of debug, info, warn, error", text)
		}
		return l, nil
	}))
}
