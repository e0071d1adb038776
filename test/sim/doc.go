// Package sim is a deterministic simulation of the real code.
package sim
