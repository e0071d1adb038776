// Package sidecar is the session engine of the data path.
package sidecar
