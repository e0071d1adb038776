package config

import (
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Print writes the settings in force as a file that Load reads back, each with its source. Files are named, not shown.
func (c *Config) Print(w io.Writer) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, k := range c.table.keys {
		s, ok := c.settings[k.name]
		if !ok {
			continue
		}
		at := root
		parts := strings.Split(k.name, ".")
		for _, part := range parts[:len(parts)-1] {
			at = below(at, part)
		}
		value := s.node(k)
		comment := &value.LineComment
		if value.Kind == yaml.SequenceNode && len(value.Content) > 0 {
			comment = &value.Content[0].LineComment
		}
		*comment = s.source
		at.Content = append(at.Content, scalar(parts[len(parts)-1]), value)
	}
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return err
	}
	return encoder.Close()
}

func (s setting) node(k key) *yaml.Node {
	if k.shape == one {
		n := scalar(s.values[0])
		if k.isBool() || k.unit == "number" {
			n.Tag = "" // plain: true, not "true"
		}
		return n
	}
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for _, v := range s.values {
		n.Content = append(n.Content, scalar(v))
	}
	return n
}

// below returns the section of that name, made when it is not there.
func below(mapping *yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i+1]
		}
	}
	section := &yaml.Node{Kind: yaml.MappingNode}
	mapping.Content = append(mapping.Content, scalar(name), section)
	return section
}

// scalar is a text; the encoder quotes what YAML would read as something else.
func scalar(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}
