package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// readYAML lets viper read the file and returns the source of each key in it.
func (l *loader) readYAML(v *viper.Viper, path string) map[string]string {
	sources := map[string]string{}
	if path == "" {
		return sources
	}
	content, err := l.files.read(path)
	if err != nil {
		l.add(Mistake{Key: configFlag, Text: err.Error()})
		return sources
	}
	positions, err := linesOf(content)
	if err == nil {
		v.SetConfigType("yaml")
		err = v.ReadConfig(bytes.NewReader(content))
	}
	if err != nil {
		l.add(Mistake{Key: configFlag, Source: path, Text: err.Error()})
		return sources
	}
	at := func(name string) string {
		if line := positions[name]; line > 0 {
			return path + ":" + strconv.Itoa(line)
		}
		return path
	}
	known := make([]string, len(l.table.keys))
	for i, k := range l.table.keys {
		known[i] = k.name
		if v.InConfig(k.name) { // a key without a value is not set
			sources[k.name] = at(k.name)
		}
	}
	for _, name := range slices.Sorted(slices.Values(v.AllKeys())) {
		isSection := func(k string) bool { return strings.HasPrefix(k, name+".") }
		isBelow := func(k string) bool { return strings.HasPrefix(name, k+".") } // texts says so
		switch {
		case slices.Contains(known, name), slices.ContainsFunc(known, isBelow):
		case !slices.ContainsFunc(known, isSection):
			l.unknown(name, at(name), "", nearest(name, known))
		case v.Get(name) != nil:
			l.add(Mistake{name, at(name), "is a section: write its keys below it, indented"})
		}
	}
	return sources
}

// linesOf returns the line of each key, lower-cased as viper has them. viper cannot tell, and takes the last of two spellings.
func linesOf(content []byte) (map[string]int, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document, more yaml.Node
	if err := decoder.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("holds more than one YAML document")
	}
	positions := map[string]int{}
	for _, root := range document.Content {
		if root.Kind != yaml.MappingNode {
			return nil, fmt.Errorf("line %d: the file must be keys with values", root.Line)
		}
		if err := walk(root, "", positions); err != nil {
			return nil, err
		}
	}
	return positions, nil
}

func walk(mapping *yaml.Node, prefix string, positions map[string]int) error {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		at, value := mapping.Content[i], mapping.Content[i+1]
		name := prefix + strings.ToLower(at.Value)
		if first := positions[name]; first > 0 {
			return fmt.Errorf("%s is given twice, in line %d and line %d", name, first, at.Line)
		}
		positions[name] = at.Line
		if value.Kind == yaml.MappingNode {
			if err := walk(value, name+".", positions); err != nil {
				return err
			}
		}
	}
	return nil
}

// texts returns a value of viper's as the texts that a flag or variable would give.
func texts(k key, value any) ([]string, error) {
	switch value := value.(type) {
	case []string:
		return value, nil
	case []any:
		if k.shape == one {
			return nil, errors.New("takes one value, not a list")
		}
		var all []string
		for _, item := range value {
			all = append(all, itemText(item))
		}
		return all, nil
	case map[string]any:
		return nil, errors.New("takes a value, not keys below it")
	default:
		return k.split(fmt.Sprint(value)), nil
	}
}

// itemText writes an entry {id: 1, file: f, use: seal} as id=1,file=f,use=seal.
func itemText(item any) string {
	fields, ok := item.(map[string]any)
	if !ok {
		return fmt.Sprint(item)
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		parts = append(parts, fmt.Sprintf("%s=%v", name, fields[name]))
	}
	return strings.Join(parts, ",")
}
