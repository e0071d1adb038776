package xds

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func servicesFile(t *testing.T, text string) string {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), "services.yaml"), text)
}

func TestServices(t *testing.T) {
	s, err := LoadServices(servicesFile(t, `
apps:
  shop: {hosts: [shop.example, "*.shop.example"], timeout: 30s, retries: 0, space: shop, compress: false}
  cart: {hosts: [shop.example], prefix: /cart, identities: ["spiffe://example/cart"]}
rings:
  shop:
    - {name: n1, address: "10.0.0.1:11211"}
    - {name: n2, address: "tls:10.0.0.2:11211", state: draining}
    - {name: n3, address: "unix:/run/n3", state: removed}
listeners: [{port: 80}]
fronts: ["spiffe://example/front"]
`))
	if err != nil {
		t.Fatal(err)
	}
	shop, cart := s.Apps["shop"], s.Apps["cart"]
	if shop.Prefix != "/" || time.Duration(shop.Timeout) != 30*time.Second || *shop.Retries != 0 || *shop.Compress || cart.Prefix != "/cart" {
		t.Errorf("%+v %+v", shop, cart)
	}
	if ring := s.Rings["shop"]; len(ring) != 3 || ring[0].State != "active" {
		t.Errorf("%+v", ring)
	}
	if nodes := s.ringsOf()["ring/shop"].(interface{ String() string }).String(); strings.Contains(nodes, "n3") || !strings.Contains(nodes, "n2") {
		t.Errorf("%s", nodes)
	}
}

func TestServicesNamesEveryMistake(t *testing.T) {
	_, err := LoadServices(servicesFile(t, `
apps:
  Shop: {}
  a: {hosts: ["UPPER.example", "x:80"], prefix: nowhere, retries: 99, space: "no-", upstream_tls: {ca: /no/such/file}}
  b: {hosts: [same.example]}
  c: {hosts: [same.example]}
  d: {prefix: /d/}
rings:
  shop: [{name: n1, address: nowhere}, {name: n1, address: nowhere, state: gone}]
  Bad: [{name: n1, address: "h:1"}]
listeners: [{port: 0}, {port: 80, address: localhost}, {port: 443, tls: {cert: /no/such/file}}]
`))
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{
		"apps.Shop", `"UPPER.example"`, `"x:80"`, `"nowhere" is no path`, "a.retries", "a.space", "upstream_tls.ca: open /no/such/file", "upstream_tls.name is missing",
		"apps.b and apps.c are both served on same.example/", `write "/d"`, `"nowhere" is not HOST:PORT`, "n1 is given twice", "have the same address", `state "gone"`,
		"rings.Bad", "listeners[0].port", `"localhost" is no IP address`, "listeners[2].tls.cert", "listeners[2].tls.key is missing",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing says %q in:\n%v", want, err)
		}
	}
}

func TestServicesThatDoNotParse(t *testing.T) {
	for text, want := range map[string]string{
		"apps: {shop: {hots: [a]}}":                    "hots",
		"apps: {shop: {timeout: soon, retries: many}}": "soon",
		"apps: [":                             "services.yaml",
		"":                                    "apps is empty",
		"rings: {shop: []}\napps: {shop: {}}": "no active node",
	} {
		if _, err := LoadServices(servicesFile(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := LoadServices("/no/such/file"); err == nil {
		t.Error("a file that is not there was taken")
	}
}

func TestConflicts(t *testing.T) {
	none, err := LoadServices("")
	if err != nil {
		t.Fatal(err)
	}
	file, err := LoadServices(servicesFile(t, "apps: {shop: {hosts: [x.example], space: shop}, cart: {hosts: [x.example], prefix: /cart}, far: {hosts: [y.example]}}"))
	if err != nil {
		t.Fatal(err)
	}
	of := func(app, space, cookie string) member {
		return member{Sidecar: Sidecar{App: app, Space: space, Route: "r", Cookie: cookie}}
	}
	lost := of("cart", "cart", "c")
	lost.Lost = time.Now()
	for name, tc := range map[string]struct {
		services *Services
		members  []member
		want     string
	}{
		"one app":                       {none, []member{of("shop", "shop", "c"), of("shop", "shop", "c")}, ""},
		"two apps":                      {none, []member{of("shop", "shop", "c"), of("cart", "cart", "d")}, "write one (--services)"},
		"a lost app is in nobody's way": {none, []member{of("shop", "shop", "c"), lost}, ""},
		"other cookies":                 {file, []member{of("shop", "shop", "c"), of("cart", "cart", "d")}, ""},
		"one space":                     {file, []member{of("shop", "shop", "c"), of("cart", "shop", "c")}, ""},
		"other hosts":                   {file, []member{of("shop", "shop", "c"), of("far", "far", "c")}, ""},
		"one cookie, two spaces":        {file, []member{of("shop", "shop", "c"), of("cart", "cart", "c")}, "host x.example would get cookie c from space"},
		"wrong space":                   {file, []member{of("shop", "other", "c")}, "app shop is of space shop"},
		"not listed":                    {file, []member{of("nobody", "nobody", "c")}, ""},
	} {
		err := tc.services.conflicts(tc.members)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func TestExampleLoads(t *testing.T) {
	s, err := LoadServices("../examples/envoy/services.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := build(s, nil); err != nil {
		t.Error(err)
	}
}
