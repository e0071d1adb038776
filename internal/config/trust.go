package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// TLS is the certificate for visitors.
type TLS struct{ Cert, Key, ClientCA File }

// ClientTLS is how those that we connect to are trusted, and what they are shown.
type ClientTLS struct{ CA, Cert, Key File }

// Server returns the settings of the data port, nil for plain TCP.
func (t TLS) Server() (*tls.Config, error) {
	if t.Cert.Path == "" && t.Key.Path == "" {
		if t.ClientCA.Path != "" {
			return nil, errors.New("tls.client_ca needs tls.cert and tls.key")
		}
		return nil, nil
	}
	pair, err := keyPair(t.Cert, t.Key)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if t.ClientCA.Path != "" {
		c.ClientAuth = tls.RequireAndVerifyClientCert
		c.ClientCAs, err = pool(t.ClientCA)
	}
	return c, err
}

// Given tells whether anything of it is set.
func (t ClientTLS) Given() bool { return t.CA.Path != "" || t.Cert.Path != "" || t.Key.Path != "" }

// Client returns the settings for a connection; the name to verify is the address's.
func (t ClientTLS) Client() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	if t.CA.Path != "" {
		if c.RootCAs, err = pool(t.CA); err != nil {
			return nil, err
		}
	}
	if t.Cert.Path != "" || t.Key.Path != "" {
		pair, err := keyPair(t.Cert, t.Key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func keyPair(cert, key File) (tls.Certificate, error) {
	if cert.Path == "" || key.Path == "" {
		return tls.Certificate{}, errors.New("a certificate and its key come together")
	}
	pair, err := tls.X509KeyPair(cert.Content, key.Content)
	if err != nil {
		return pair, fmt.Errorf("%s and %s are not a certificate and its key: %w", cert.Path, key.Path, err)
	}
	return pair, nil
}

func pool(f File) (*x509.CertPool, error) {
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(f.Content) {
		return nil, fmt.Errorf("%s holds no PEM certificate", f.Path)
	}
	return p, nil
}

// Auth returns the user and the password for nodes started with -Y, "" when there are none.
func (r Ring) Auth() (user, password string, err error) {
	if r.AuthFile.Path == "" {
		return "", "", nil
	}
	line, err := oneLine(r.AuthFile.Content)
	user, password, ok := strings.Cut(string(line), ":")
	if err != nil || !ok || user == "" || strings.ContainsAny(string(line), " \t") {
		return "", "", fmt.Errorf("%s must hold one line USER:PASSWORD without spaces", r.AuthFile.Path)
	}
	return user, password, nil
}

// AdminToken returns the bearer token of the admin address, "" when there is none.
func (c *Config) AdminToken() (string, error) {
	if c.AdminTokenFile.Path == "" {
		return "", nil
	}
	line, err := oneLine(c.AdminTokenFile.Content)
	if err != nil {
		return "", fmt.Errorf("%s %w", c.AdminTokenFile.Path, err)
	}
	return string(line), nil
}
