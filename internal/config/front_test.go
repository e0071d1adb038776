package config

import (
	"strings"
	"testing"
	"time"
)

func TestLoadFront(t *testing.T) {
	file := write(t, "front.yaml", "backends: [a1=h:1]\nsession: {cookie: psid}\nadmin: \"off\"\n")
	c, err := LoadFront([]string{"--config", file, "--sticky=false"}, []string{"PILLION_BACKENDS=a1=h:1,a2=h:2"})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Backends) != 2 || c.Session.Cookie != "psid" || c.Sticky || !c.Compress || c.Admin != "" || c.Listen != ":8000" || c.UpstreamTimeout != 75*time.Second {
		t.Errorf("%+v", c)
	}
	c, err = LoadFront([]string{"--control-plane=h:1", "--id=front1"}, nil)
	if err != nil || c.Listen != "" || c.UpstreamTimeout != 5*time.Minute || c.Admin != "127.0.0.1:9902" {
		t.Errorf("%v: %+v", err, c)
	}
}

func TestFrontMistakes(t *testing.T) {
	pem := write(t, "x.pem", "nothing")
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"nobody to serve":        {nil, "control_plane: is missing"},
		"both":                   {[]string{"--control-plane=h:1", "--backends=a1=h:1"}, "backends (flag --backends): does not go with control_plane"},
		"a certificate for both": {[]string{"--control-plane=h:1", "--tls-cert=" + pem, "--tls-key=" + pem}, "tls.cert (flag --tls-cert): does not go with"},
		"TLS to nobody":          {[]string{"--backends=a1=h:1", "--control-plane-tls-ca=" + pem}, "control_plane_tls.ca (flag --control-plane-tls-ca): is used with control_plane only"},
		"no authority":           {[]string{"--control-plane=h:1", "--control-plane-tls-ca=" + pem}, "holds no PEM certificate"},
		"admin":                  {[]string{"--backends=a1=h:1", "--admin=no"}, `"no" is neither off nor an address`},
		"a sidecar's setting":    {[]string{"--config=" + write(t, "s.yaml", "ring: {nodes: [n1=h:1]}\n")}, "is a setting of sidecars"},
	} {
		if _, err := LoadFront(tc.args, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	if _, err := Load([]string{"--config=" + write(t, "f.yaml", "backends: [a1=h:1]\n")}, nil); err == nil || !strings.Contains(err.Error(), "is a setting of fronts") {
		t.Error(err)
	}
}
