package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

func between(at func(*Config) *int, low, high int) binding {
	return bind("number", one, at, single(func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < low || n > high {
			return 0, fmt.Errorf("%q is not a number from %d to %d", text, low, high)
		}
		return n, nil
	}))
}

func size(at func(*Config) *int) binding {
	return bind("size", one, at, single(func(text string) (int, error) {
		n, err := parseSize(text)
		if err == nil && n > math.MaxInt32 {
			return 0, fmt.Errorf("%q is too much", text)
		}
		return int(n), err
	}))
}

// parseSize reads bytes with a binary unit: KB means 1000 to some and 1024 to others, so it is refused.
func parseSize(text string) (int64, error) {
	number, shift := text, 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(text, unit); ok {
			number, shift = rest, 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 32)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%q is no size: a whole number with KiB, MiB or GiB", text)
	}
	return n << shift, nil
}

// Memory is an amount of memory, or a part of what the machine has.
type Memory struct {
	Bytes   int64
	Percent int
}

// Of returns the bytes on a machine that has total.
func (m Memory) Of(total int64) int64 {
	if m.Percent > 0 {
		return total / 100 * int64(m.Percent)
	}
	return m.Bytes
}

func memory(at func(*Config) *Memory) binding {
	return bind("size", one, at, single(func(text string) (Memory, error) {
		if number, ok := strings.CutSuffix(text, "%"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(number))
			if err != nil || n < 1 || n > 100 {
				return Memory{}, fmt.Errorf("%q is not 1%% to 100%%", text)
			}
			return Memory{Percent: n}, nil
		}
		n, err := parseSize(text)
		return Memory{Bytes: n}, err
	}))
}
