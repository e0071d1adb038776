package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pillion-proxy/pillion/internal/config"
	"github.com/pillion-proxy/pillion/xds"
)

func newConfigCommand(e env) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:     "config",
		Short:   "Check, print and explain settings; make keys",
		Example: "  pillion config check --config /etc/pillion/shop.yaml",
	})
	cmd.AddCommand(newConfigCheckCommand(e), newConfigPrintCommand(e), newConfigReferenceCommand(e), newConfigKeyCommand(e))
	return cmd
}

func newConfigCheckCommand(e env) *cobra.Command {
	return takesConfig(&cobra.Command{
		Use:   "check [sidecar|front|control-plane] [flags]",
		Short: "Report every mistake in the settings without starting anything",
		Example: "  pillion config check --config /etc/pillion/shop.yaml\n  PILLION_CONFIG=/etc/pillion/shop.yaml pillion config check --sticky=false\n" +
			"  pillion config check control-plane --config /etc/pillion/control-plane.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := kindOf(args)
			switch {
			case err != nil:
				return usageError{cmd, err}
			case of == "control-plane":
				return checkControlPlane(rest, e)
			case of == "front":
				return checkFront(rest, e)
			}
			c, err := config.Load(rest, e.environ)
			if err != nil {
				return err
			}
			e.warn(c)
			fmt.Fprintf(e.stdout, "settings are right: app %s, %s, %d nodes, hash %s\n", c.App, mode(c), len(c.Ring.Nodes), c.Hash())
			return nil
		},
	})
}

func (e env) warn(c *config.Config) {
	for _, text := range c.Warnings() {
		fmt.Fprintf(e.stderr, "warning: %s\n", text)
	}
}

// kindOf takes the word that says whose settings are meant.
func kindOf(args []string) (kind string, rest []string, err error) {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return "sidecar", args, nil
	}
	if !slices.Contains([]string{"sidecar", "front", "control-plane"}, args[0]) {
		return "", nil, fmt.Errorf("%q is none of sidecar, front, control-plane", args[0])
	}
	return args[0], args[1:], nil
}

// checkControlPlane checks the settings of a control plane and its services file.
func checkControlPlane(args []string, e env) error {
	c, err := config.LoadControlPlane(args, e.environ)
	if err != nil {
		return err
	}
	e.warn(c)
	services, err := xds.LoadServices(c.Services)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "settings are right: a control plane, %d apps in its services file, hash %s\n", len(services.Apps), c.Hash())
	return nil
}

// checkFront checks the settings of a front.
func checkFront(args []string, e env) error {
	c, err := config.LoadFront(args, e.environ)
	if err != nil {
		return err
	}
	e.warn(c)
	fed := fmt.Sprintf("%d sidecars", len(c.Backends))
	if n := len(c.ControlPlane); n > 0 {
		fed = fmt.Sprintf("%d control planes", n)
	}
	fmt.Fprintf(e.stdout, "settings are right: a front with %s, hash %s\n", fed, c.Hash())
	return nil
}

func newConfigPrintCommand(e env) *cobra.Command {
	return takesConfig(&cobra.Command{
		Use:     "print [sidecar|front|control-plane] [flags]",
		Short:   "Print the resulting settings as a file, with the source of each",
		Example: "  pillion config print --config /etc/pillion/shop.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			load := config.Load
			of, rest, err := kindOf(args)
			if err != nil {
				return usageError{cmd, err}
			}
			switch of {
			case "control-plane":
				load = config.LoadControlPlane
			case "front":
				load = config.LoadFront
			}
			c, err := load(rest, e.environ)
			if err != nil {
				return err
			}
			return c.Print(e.stdout)
		},
	})
}

func newConfigReferenceCommand(e env) *cobra.Command {
	return &cobra.Command{
		Use:     "reference",
		Short:   "Print what every setting means, as Markdown",
		Example: "  pillion config reference | less",
		Args:    arguments(0, 0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(e.stdout, config.Reference())
			return err
		},
	}
}

func newConfigKeyCommand(e env) *cobra.Command {
	return &cobra.Command{
		Use:     "key FILE",
		Short:   "Make a file with a new random key",
		Long:    "Makes a file with a new random key for keys or app_auth.keys. Only its owner can read it. An existing file is never overwritten.",
		Example: "  pillion config key /etc/pillion/key-1",
		Args:    arguments(1, 1, "one FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := writeKey(args[0]); err != nil {
				return err
			}
			fmt.Fprintf(e.stdout, "wrote %[1]s; name it in the settings: keys: [{id: 1, file: %[1]s, use: seal}]\n", args[0])
			return nil
		},
	}
}

func writeKey(path string) error {
	var secret [32]byte
	rand.Read(secret[:]) // never fails
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return hinted{fmt.Errorf("%s exists, and a key that is overwritten ends every session it sealed", path), "choose another name, or remove the file first"}
	}
	if err != nil {
		return fmt.Errorf("making a key file: %w", err)
	}
	_, err = fmt.Fprintln(f, hex.EncodeToString(secret[:]))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("making a key file: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}
