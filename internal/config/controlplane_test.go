package config

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestLoadControlPlane(t *testing.T) {
	file := write(t, "plane.yaml", "listen: 127.0.0.1:18001\nhold_off: 1s\nlog: {level: debug}\n")
	c, err := LoadControlPlane([]string{"--config", file, "--services=s.yaml"}, []string{"PILLION_HOLD_OFF=5s"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:18001" || c.HoldOff != 5*time.Second || c.Services != "s.yaml" || c.Admin != "127.0.0.1:9903" || c.Source("hold_off") != "env PILLION_HOLD_OFF" {
		t.Errorf("%+v", c)
	}
	other, err := LoadControlPlane(nil, nil)
	if err != nil || other.Hash() == c.Hash() {
		t.Errorf("the defaults: %v, hash %s and %s", err, other.Hash(), c.Hash())
	}
}

func TestControlPlaneMistakes(t *testing.T) {
	pem := write(t, "x.pem", "nothing")
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"plain for all":       {[]string{"--listen=:18000"}, []string{"listen (flag --listen): is plain TCP"}},
		"plain on a name":     {[]string{"--listen=cp.example:18000"}, []string{"listen (flag --listen): is plain TCP"}},
		"half of TLS":         {[]string{"--tls-cert=" + pem}, []string{"tls.key: is missing", "tls.client_ca: is missing"}},
		"no certificates":     {[]string{"--tls-cert=" + pem, "--tls-key=" + pem, "--tls-client-ca=" + pem}, []string{"are not a certificate and its key"}},
		"a sidecar's setting": {[]string{"--config=" + write(t, "s.yaml", "ring: {nodes: [n1=h:1]}\n")}, []string{"ring.nodes (", "is a setting of sidecars"}},
		"all at once":         {[]string{"--hold-off=x", "--admin=9", "--insecure=maybe"}, []string{"3 mistakes", "hold_off", "admin", "insecure"}},
	} {
		_, err := LoadControlPlane(tc.args, nil)
		var mistakes *Error
		if !errors.As(err, &mistakes) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
	for _, right := range [][]string{{"--listen=:18000", "--insecure"}, {"--listen=localhost:1"}, {"--listen=[::1]:1"}} {
		if _, err := LoadControlPlane(right, nil); err != nil {
			t.Errorf("%q: %v", right, err)
		}
	}
}
