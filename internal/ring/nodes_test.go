package ring

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestParseNodes(t *testing.T) {
	got, mistakes := ParseNodes([]string{
		"n1=10.100.0.20:11211", "n2=[fd00::1]:11211", "n3=unix:/run/m.sock", "n4=tls:cache.example:11212;host=h1", "n_5=localhost:1",
	})
	want := []Node{
		{Name: "n1", Address: "10.100.0.20:11211"}, {Name: "n2", Address: "[fd00::1]:11211"}, {Name: "n3", Address: "unix:/run/m.sock"},
		{Name: "n4", Address: "tls:cache.example:11212", Host: "h1"}, {Name: "n_5", Address: "localhost:1"},
	}
	if !slices.Equal(got, want) || mistakes != nil {
		t.Errorf("got %+v, %v", got, mistakes)
	}
	if got, mistakes := ParseNodes(nil); got != nil || mistakes != nil {
		t.Errorf("nothing is %v, %v", got, mistakes)
	}
}

func TestParseNodesMistakes(t *testing.T) {
	for entry, says := range map[string]string{
		"n1:10.0.0.1:11211":        "write n1=10.0.0.1:11211", // msm's own spelling
		"n1:[fd00::1]:11211":       "write n1=[fd00::1]:11211",
		"10.0.0.1:11211":           "write NAME=HOST:PORT",
		"":                         "write NAME=HOST:PORT",
		"N1=a:1":                   "a name is",
		"n-1=a:1":                  "a name is",
		"=a:1":                     "a name is",
		"n0123456789abcdef=a:1":    "a name is",
		"n1=10.0.0.1":              "write n1=10.0.0.1:11211",
		"n1=[fd00::1]":             "write n1=[fd00::1]:11211",
		"n1=tls:cache":             "port",
		"n1=fd00::1:11211":         "write an IPv6 address in brackets: n1=[fd00::1]:11211",
		"n1=[10.0.0.1]:11211":      "no IPv6 address",
		"n1=[fd00::1:11211":        "no IPv6 address",
		"n1=a:0":                   "no port",
		"n1=a:65536":               "no port",
		"n1=a:http":                "no port",
		"n1=:11211":                "no host",
		"n1=a b:11211":             "no host",
		"n1=redis://cache:6379":    "brackets",
		"n1=unix:run/m.sock":       "whole path",
		"n1=unix:":                 "whole path",
		"n1=a:1;weight=2":          "the only option is ;host=",
		"n1=a:1;host=":             "the only option is ;host=",
		"n1=a:11211,n2=b:11211":    "brackets",
		"n1=a:1\r\n":               "no port",
		"n1=user:password@a:11211": "brackets",
		"n1=user@a:11211":          "no host",
		"auto":                     "write NAME=HOST:PORT",
	} {
		nodes, mistakes := ParseNodes([]string{entry})
		if len(mistakes) != 1 || len(nodes) != 0 || !strings.Contains(mistakes[0].Error(), says) {
			t.Errorf("%q: %v, %v, want %q", entry, nodes, mistakes, says)
		}
	}
}

func TestParseNodesTellsAllMistakes(t *testing.T) {
	nodes, mistakes := ParseNodes([]string{"n1=a:1", "N2=a:2", "n1=a:3", "n4=tls:a:1", "n5=a"})
	if len(mistakes) != 4 || len(nodes) != 3 {
		t.Fatalf("%v, %v", nodes, mistakes)
	}
	for i, says := range []string{"a name is", "given twice", "n1 has that address already", "port is missing"} {
		if text := mistakes[i].Error(); !strings.HasPrefix(text, "ring: node ") || !strings.Contains(text, says) {
			t.Errorf("%q, want %q", text, says)
		}
	}
}

var fleet = []Node{
	{Name: "n1", Address: "10.0.0.1:11211"},
	{Name: "n2", Address: "tls:[fd00::2]:11211"},
	{Name: "n3", Address: "unix:/run/m.sock"},
	{Name: "n4", Address: "cache:11211", Host: "h4"},
	{Name: "n5", Address: "127.0.0.1:11211"},
	{Name: "n6", Address: "h6.example:11211"},
}

func locals(nodes []Node) (names string) {
	for _, n := range nodes {
		if n.Local {
			names += n.Name
		}
	}
	return names
}

func TestMarkLocal(t *testing.T) {
	addrs := func(texts ...string) (all []netip.Addr) {
		for _, text := range texts {
			all = append(all, netip.MustParseAddr(text))
		}
		return all
	}
	for _, c := range []struct {
		name     string
		explicit []string
		auto     bool
		host     string
		own      []netip.Addr
		want     string
	}{
		{"off", nil, false, "h4", addrs("10.0.0.1"), ""},
		{"explicit", []string{"n2", "n5"}, false, "h4", addrs("10.0.0.1"), "n2n5"},
		{"explicit goes before auto", []string{"n2"}, true, "h4", addrs("10.0.0.1"), "n2"},
		{"socket", nil, true, "other", nil, "n3"},
		{"address", nil, true, "", addrs("10.0.0.1", "10.0.0.9"), "n1n3"},
		{"address as IPv4 in IPv6", nil, true, "", addrs("::ffff:10.0.0.1"), "n1n3"},
		{"address with zone", nil, true, "", addrs("fd00::2%eth0"), "n2n3"},
		{"option host", nil, true, "h4", nil, "n3n4"},
		{"address is our host name", nil, true, "h6.example", nil, "n3n6"},
		{"loopback never", nil, true, "localhost", addrs("127.0.0.1", "::1"), "n3"},
	} {
		got, err := MarkLocal(fleet, c.explicit, c.auto, c.host, c.own)
		if err != nil || locals(got) != c.want {
			t.Errorf("%s: %q, %v, want %q", c.name, locals(got), err, c.want)
		}
	}
	if locals(fleet) != "" || fleet[0].Host != "" {
		t.Error("MarkLocal changed its argument")
	}
}

func TestMarkLocalKnowsMachines(t *testing.T) {
	got, err := MarkLocal(fleet, nil, false, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"10.0.0.1", "fd00::2", "", "h4", "", "h6.example"} {
		if got[i].Host != want {
			t.Errorf("%s runs on %q, want %q", got[i].Name, got[i].Host, want)
		}
	}
}

func TestMarkLocalAll(t *testing.T) {
	two := fleet[:2]
	own := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::2")}
	if got, err := MarkLocal(two, nil, true, "", own); err != nil || locals(got) != "" {
		t.Errorf("auto of all: %q, %v", locals(got), err)
	}
	if _, err := MarkLocal(two, []string{"n1", "n2"}, false, "", nil); err == nil || !strings.Contains(err.Error(), "every node is local") {
		t.Errorf("explicit of all: %v", err)
	}
	_, err := MarkLocal(two, []string{"n1", "n8", "n9"}, false, "", nil)
	if err == nil || !strings.Contains(err.Error(), "n8") || !strings.Contains(err.Error(), "n9") {
		t.Errorf("unknown nodes: %v", err)
	}
}
