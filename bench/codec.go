package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

const (
	codecTurns = 5
	codecTurn  = 100 * time.Millisecond
)

// measureCodec compares sealing and opening a session with what an app does that keeps it as one JSON tree, without checksum, encryption,
// compression or stamps.
func measureCodec() (table, error) {
	t := table{title: "Codec", columns: []string{"work", "Pillion", "encoding/json", "ratio", "sizes"}}
	secret := sessioncodec.Key{ID: 1, Secret: bytes.Repeat([]byte{7}, 32)}
	for _, o := range []struct {
		name    string
		options sessioncodec.Options
	}{
		{"encrypted, compressed", sessioncodec.Options{Space: "bench", Seal: &secret}},
		{"checksum only", sessioncodec.Options{Space: "bench", Compression: sessioncodec.CompressNone}},
	} {
		for _, kib := range []int{1, 4, 8} {
			progress("codec, %s, %d KB", o.name, kib)
			if err := measureBlob(&t, fmt.Sprintf("%d KB, %s", kib, o.name), o.options, session(kib<<10)); err != nil {
				return t, err
			}
		}
	}
	return t, nil
}

func measureBlob(t *table, name string, o sessioncodec.Options, r *sessioncodec.Record) error {
	const key = "p1:bench:abcdefghijklmnopqrstuvwxyz012345"
	codec, err := sessioncodec.New(o)
	if err != nil {
		return err
	}
	blob, err := codec.Seal(key, r)
	if err != nil {
		return err
	}
	object := sessioncodec.AppendObject(nil, r)
	var tree map[string]any
	if err := json.Unmarshal(object, &tree); err != nil {
		return err
	}
	detail := fmt.Sprintf("blob %d B, JSON %d B", len(blob), len(object))
	if err := compare(t, "seal "+name, detail,
		func() error { _, err := codec.Seal(key, r); return err },
		func() error { _, err := json.Marshal(tree); return err },
	); err != nil {
		return err
	}
	return compare(t, "open "+name, detail,
		func() error { _, err := codec.Open(key, blob); return err },
		func() error { var tree map[string]any; return json.Unmarshal(object, &tree) },
	)
}

// compare adds a row with the least time that each of the two took in alternating turns: what is above the least is disturbance.
func compare(t *table, name, detail string, ours, theirs func() error) error {
	var least [2]time.Duration
	for range codecTurns {
		for i, work := range []func() error{ours, theirs} {
			took, err := timed(work)
			if err != nil {
				return err
			}
			if least[i] == 0 || took < least[i] {
				least[i] = took
			}
		}
	}
	t.add(name, fmt.Sprintf("%d ns", least[0].Nanoseconds()), fmt.Sprintf("%d ns", least[1].Nanoseconds()),
		fmt.Sprintf("%.2f", float64(least[0])/float64(least[1])), detail)
	return nil
}

// timed repeats work for a turn and returns the time of one.
func timed(work func() error) (time.Duration, error) {
	const batch = 100
	start := time.Now()
	for n := batch; ; n += batch {
		for range batch {
			if err := work(); err != nil {
				return 0, err
			}
		}
		if took := time.Since(start); took > codecTurn {
			return took / time.Duration(n), nil
		}
	}
}
