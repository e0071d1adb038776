package config

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// Secret is a text that fmt and slog do not show.
type Secret []byte

const hidden = "(secret)"

// Format prints no byte of the secret, whatever the verb.
func (Secret) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(hidden)) }

// LogValue hides the secret from logs.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the secret from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// File is a file named by a setting, with what it held when the setting was read. A key file holds its 32 bytes.
type File struct {
	Path    string
	Content Secret
}

func file(at func(*Config) *File) binding {
	return bind("file", one, at, single(parseFile))
}

// files reads the names of key files.
func files(at func(*Config) *[]File) binding {
	return bind("files", list, at, each(parseFile))
}

func parseFile(text string) (File, error) {
	if text == "" {
		return File{}, errors.New("the path is empty")
	}
	return File{Path: text}, nil
}

// Key is a key that opens ids and sessions, and seals them when it is the one.
type Key struct {
	ID   uint32
	Seal bool
	File
}

func sealKeys(at func(*Config) *[]Key) binding {
	parse := each(parseKey)
	return bind("keys", lines, at, func(values []string) ([]Key, error) {
		all, err := parse(values)
		if err != nil {
			return all, err
		}
		ids, sealing := map[uint32]bool{}, 0
		for i, k := range all {
			if ids[k.ID] {
				err = errors.Join(err, fmt.Errorf("id %d is given twice", k.ID))
			}
			ids[k.ID] = true
			if k.Seal {
				sealing++
				copy(all[1:i+1], all[:i])
				all[0] = k
			}
		}
		if len(all) > 0 && sealing != 1 {
			err = errors.Join(err, fmt.Errorf("%d keys have use=seal, and exactly one must", sealing))
		}
		return all, err
	})
}

func parseKey(text string) (Key, error) {
	var k Key
	var use string
	for part := range strings.SplitSeq(text, ",") {
		field, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch field {
		case "id":
			id, err := strconv.ParseUint(value, 10, 32)
			if err != nil || id == 0 {
				return k, fmt.Errorf("%q: id is a number from 1 to 4294967295", text)
			}
			k.ID = uint32(id)
		case "file":
			k.Path = value
		case "use":
			use = value
		default:
			return k, fmt.Errorf("%q: %q is none of id, file, use", text, field)
		}
	}
	if k.ID == 0 || k.Path == "" || use != "seal" && use != "open" {
		return k, fmt.Errorf("%q needs id, file, and use=seal or use=open", text)
	}
	k.Seal = use == "seal"
	return k, nil
}

// keyBytes reads the three spellings of a key: 32 raw bytes, 64 hex or 44 base64 characters; the last two may end with a newline.
func keyBytes(content []byte) ([]byte, error) {
	if len(content) == 32 {
		return content, nil
	}
	text := string(bytes.TrimSpace(content))
	var raw []byte
	var err error
	switch len(text) {
	case 64:
		raw, err = hex.DecodeString(text)
	case 44:
		raw, err = base64.StdEncoding.DecodeString(text)
	}
	// The message repeats nothing of the file, which may be a secret with a typing error.
	if err != nil || len(raw) != 32 {
		return nil, fmt.Errorf("holds %d bytes, which are neither 32 raw bytes nor 64 hex nor 44 base64 characters; pillion config key makes one", len(content))
	}
	return raw, nil
}

// oneLine returns the line that is all of a file.
func oneLine(content []byte) ([]byte, error) {
	line := bytes.TrimSpace(content)
	if len(line) == 0 || bytes.ContainsAny(line, "\r\n") {
		return nil, errors.New("must hold one line")
	}
	return line, nil
}

// readFiles fills in the content of every file that a setting names.
func (l *loader) readFiles() {
	for _, k := range l.table.keys {
		switch at := k.get(l.config).(type) {
		case *File:
			l.readFile(k, at, func(content []byte) ([]byte, error) { return content, nil })
		case *[]File:
			for i := range *at {
				l.readFile(k, &(*at)[i], keyBytes)
			}
		case *[]Key:
			for i := range *at {
				l.readFile(k, &(*at)[i].File, keyBytes)
			}
		}
	}
}

func (l *loader) readFile(k key, f *File, decode func([]byte) ([]byte, error)) {
	if f.Path == "" {
		return
	}
	content, err := l.files.read(f.Path)
	if err == nil {
		if f.Content, err = decode(content); err == nil {
			return
		}
		err = fmt.Errorf("%s %w", f.Path, err)
	}
	l.mistake(k.name, err.Error())
}
