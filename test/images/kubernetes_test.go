package images_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	podsecurity "k8s.io/pod-security-admission/api"
	standards "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// manifests are all of them, by kind.
type manifests struct {
	pods      map[string]core.PodTemplateSpec // by name of their Deployment or StatefulSet
	selectors map[string]*meta.LabelSelector  // of what must select pods
}

func readManifests(t *testing.T) manifests {
	t.Helper()
	m := manifests{pods: map[string]core.PodTemplateSpec{}, selectors: map[string]*meta.LabelSelector{}}
	files, err := filepath.Glob(filepath.Join(root, "examples/kubernetes/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal("no manifests", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for n, document := range bytes.Split(text, []byte("\n---\n")) {
			if err := m.add(document); err != nil {
				t.Errorf("%s, document %d: %v", filepath.Base(file), n+1, err)
			}
		}
	}
	return m
}

// add decodes a manifest into the type of its kind, which must have all its fields.
func (m manifests) add(document []byte) error {
	var kind meta.TypeMeta
	if err := yaml.Unmarshal(document, &kind); err != nil {
		return err
	}
	switch kind.APIVersion + " " + kind.Kind {
	case "apps/v1 Deployment":
		var d apps.Deployment
		err := yaml.UnmarshalStrict(document, &d)
		m.pods[d.Name], m.selectors["Deployment "+d.Name] = d.Spec.Template, d.Spec.Selector
		return err
	case "apps/v1 StatefulSet":
		var s apps.StatefulSet
		err := yaml.UnmarshalStrict(document, &s)
		m.pods[s.Name], m.selectors["StatefulSet "+s.Name] = s.Spec.Template, s.Spec.Selector
		return err
	case "v1 Service":
		var s core.Service
		err := yaml.UnmarshalStrict(document, &s)
		m.selectors["Service "+s.Name] = &meta.LabelSelector{MatchLabels: s.Spec.Selector}
		return err
	case "policy/v1 PodDisruptionBudget":
		var b policy.PodDisruptionBudget
		err := yaml.UnmarshalStrict(document, &b)
		m.selectors["PodDisruptionBudget "+b.Name] = b.Spec.Selector
		return err
	case "networking.k8s.io/v1 NetworkPolicy":
		var p networking.NetworkPolicy
		err := yaml.UnmarshalStrict(document, &p)
		m.selectors["NetworkPolicy "+p.Name] = &p.Spec.PodSelector
		for _, rule := range p.Spec.Ingress {
			for n, from := range rule.From {
				m.selectors[fmt.Sprintf("NetworkPolicy %s from %d", p.Name, n)] = from.PodSelector
			}
		}
		return err
	case "v1 Namespace":
		return yaml.UnmarshalStrict(document, &core.Namespace{})
	case "kustomize.config.k8s.io/v1beta1 Kustomization":
		return nil // kustomize reads it, below
	}
	return fmt.Errorf("a kind that this test does not know: %s %s", kind.APIVersion, kind.Kind)
}

func TestKubernetes(t *testing.T) {
	m := readManifests(t)
	for what, selector := range m.selectors {
		s, err := meta.LabelSelectorAsSelector(selector)
		if err != nil || s.Empty() {
			t.Errorf("%s: %v, %v", what, selector, err)
			continue
		}
		found := false
		for _, pod := range m.pods {
			found = found || s.Matches(labels.Set(pod.Labels))
		}
		if !found {
			t.Errorf("%s selects no pod", what)
		}
	}
	evaluator, err := standards.NewEvaluator(standards.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, pod := range m.pods {
		level := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
		for _, result := range evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec) {
			if !result.Allowed {
				t.Errorf("%s: %s: %s", name, result.ForbiddenReason, result.ForbiddenDetail)
			}
		}
		for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
			if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
				t.Errorf("%s/%s has no limit of memory or request of CPU", name, c.Name)
			}
		}
	}
}

func TestKustomize(t *testing.T) {
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Skip(err) // no CI machine needs it
	}
	if out, err := exec.Command("kubectl", "kustomize", filepath.Join(root, "examples/kubernetes")).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// The command understands what the manifests have it started with, in containers, probes and hooks.
func TestKubernetesCommands(t *testing.T) {
	build(t)
	key := filepath.Join(t.TempDir(), "key-1")
	if err := os.WriteFile(key, bytes.Repeat([]byte{7}, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for name, pod := range readManifests(t).pods {
		for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
			if c.Image != "pillion" {
				continue
			}
			args := c.Args
			if len(args) == 0 { // the image's own: a sidecar, which has its settings in variables
				args = []string{"config", "check"}
			} else {
				args = append(args, "--help")
			}
			for _, args := range append([][]string{args}, hooks(c)...) {
				cmd := exec.Command(pillion, args...)
				cmd.Env = []string{}
				for _, variable := range c.Env {
					cmd.Env = append(cmd.Env, variable.Name+"="+strings.ReplaceAll(variable.Value, "/etc/pillion/key-1", key))
				}
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s/%s: %v: %v\n%s", name, c.Name, args, err, out)
				}
				tried++
			}
		}
	}
	if tried < 8 {
		t.Errorf("only %d commands were found", tried)
	}
}

// hooks are the arguments of a container's probes and hooks; asked for help, they do nothing.
func hooks(c core.Container) (all [][]string) {
	var actions []*core.ExecAction
	for _, probe := range []*core.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		if probe != nil {
			actions = append(actions, probe.Exec)
		}
	}
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
		actions = append(actions, c.Lifecycle.PreStop.Exec)
	}
	for _, action := range actions {
		if action != nil {
			all = append(all, append(append([]string(nil), action.Command[1:]...), "--help"))
		}
	}
	return all
}
