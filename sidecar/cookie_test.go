package sidecar

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/internal/ring"
)

// C10, C11: what could become our cookie in the app's eyes never reaches it, and only the exact name is read.
func TestCookieTake(t *testing.T) {
	c := Cookie{Name: "__Host-psid"}
	for _, row := range []struct{ name, in, out, values string }{
		{"alone", "__Host-psid=x", "", "x"},
		{"between others", "a=1; __Host-psid=x; b=2", "a=1; b=2", "x"},
		{"several", "__Host-psid=x; __Host-psid=y", "", "x,y"},
		{"no space", "a=1;__Host-psid=x;b=2", "a=1; b=2", "x"},
		{"other case", "__host-PSID=x; a=1", "a=1", ""},
		{"percent-encoded name", "%5F%5fHost-psid=x; a=1", "a=1", ""},
		{"quoted name", `"__Host-psid"=x; a=1`, "a=1", ""},
		{"nameless", "=__Host-psid=x; a=1", "a=1", ""},
		{"no value", "__Host-psid; a=1", "a=1", ""},
		{"longer name", "__Host-psid2=x", "__Host-psid2=x", ""},
		{"only as value", "a=__Host-psid", "a=__Host-psid", ""},
		{"untouched", "a=%20b;  c=d", "a=%20b;  c=d", ""},
		{"at the end", "a=1; b=2 ; __Host-psid=x", "a=1; b=2", "x"},
		{"at the begin", " __Host-psid=x ;a=1;b=2", "a=1;b=2", "x"},
		{"between many", "a=1; b=2; __Host-psid=x; c=3; %5F_Host-psid=y;d=4", "a=1; b=2; c=3; d=4", "x"},
		{"nothing between", "a=1;; b=2; __Host-psid=x;", "a=1; b=2", "x"},
	} {
		t.Run(row.name, func(t *testing.T) {
			fields := head.Fields{{Name: "Cookie", Value: row.in}}
			values := c.take(&fields)
			if got := fields.Get("Cookie"); got != row.out {
				t.Errorf("the app gets %q, want %q", got, row.out)
			}
			if got := strings.Join(values.all(), ","); got != row.values {
				t.Errorf("read %q, want %q", got, row.values)
			}
		})
	}
}

// A Cookie field of many pairs costs as much as it is long: put together pair by pair, 62 KiB of them took a second.
func TestCookieTakeOfMany(t *testing.T) {
	c := Cookie{Name: "__Host-psid"}
	line := "a;__Host-psid=x;" + strings.Repeat("a;", 30_000)
	allocations := testing.AllocsPerRun(5, func() {
		fields := head.Fields{{Name: "Cookie", Value: line}}
		c.take(&fields)
		if got := fields[0].Value; got != "a"+strings.Repeat("; a", 30_000) {
			t.Fatalf("%d bytes are left", len(got))
		}
	})
	if allocations > 10 {
		t.Errorf("%v allocations", allocations)
	}
}

// C2, C9: no id that fails its checks is used, and a jar full of our name is refused whole.
func TestReadID(t *testing.T) {
	keys, err := ring.NewKeys("shop", make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	make1 := func(born time.Time) string {
		id, err := ring.NewID(rand.Reader, born)
		if err != nil {
			t.Fatal(err)
		}
		return keys.Sign(id).String()
	}
	good, old := make1(time.Now()), make1(time.Now().Add(-25*time.Hour))
	forged := good[:47] + map[bool]string{true: "b", false: "a"}[good[47] == 'a']
	for _, row := range []struct {
		name   string
		values []string
		want   string
		reason string
	}{
		{"good", []string{good}, good, ""},
		{"none", nil, "", ""},
		{"malformed", []string{"../../etc"}, "", "malformed"},
		{"forged", []string{forged}, "", "mac"},
		{"past its lifetime", []string{old}, "", "expired"},
		{"good behind forged", []string{forged, good}, good, "mac"},
		{"too many", []string{good, good, good, good, good}, "", "too_many"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := metrics.New(prometheus.NewRegistry())
			h := New(Options{Keys: keys, Lifetime: 24 * time.Hour, Metrics: m, Random: rand.Reader})
			var found candidates
			for _, value := range row.values {
				found.add(value)
			}
			v := h.newVisit()
			if ok := h.readID(v, &found); ok != (row.want != "") || ok && v.id.String() != row.want {
				t.Errorf("read %v %v, want %q", v.id, ok, row.want)
			}
			if row.reason != "" && testutil.ToFloat64(m.IDsRejected.WithLabelValues(row.reason)) == 0 {
				t.Errorf("%s was not counted", row.reason)
			}
		})
	}
}

// C4, C5, C7: the attributes are complete, a deletion repeats them, and the whole stays far below 4096 bytes.
func TestSetCookie(t *testing.T) {
	id, err := ring.NewID(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	id.Node, id.Route = strings.Repeat("n", 16), strings.Repeat("r", 32)
	c := Cookie{Name: "__Host-psid", SameSite: "Lax", Partitioned: true, MaxAge: time.Hour}
	const attributes = "; Path=/; Secure; HttpOnly; SameSite=Lax; Partitioned"
	if got, want := c.write(id), "__Host-psid="+id.String()+attributes+"; Max-Age=3600"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := c.expire(), "__Host-psid="+attributes+"; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if n := len(c.write(id)); n > 512 {
		t.Errorf("a cookie of %d bytes", n)
	}
	plain := Cookie{Name: "psid", SameSite: "Lax", Insecure: true}
	if got := plain.write(id); strings.Contains(got, "Secure") {
		t.Errorf("Secure over plain HTTP: %s", got)
	}
}
