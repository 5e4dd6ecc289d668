//go:build linux

package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/build"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"tidings/publisher/docker/dockertest"
)

// root is where the repository is, from here.
const root = "../../.."

// TestImages_HoldTheProgramAndItsSBOM builds the images as `make images` does, and runs them.
func TestImages_HoldTheProgramAndItsSBOM(t *testing.T) {
	engine := dockertest.Start(t)
	if said, err := exec.Command("make", "--no-print-directory", "-C", root, "sbom").CombinedOutput(); err != nil {
		t.Fatalf("make sbom: %v\n%s", err, said)
	}
	for _, c := range []struct{ program, uses, usesNot string }{
		{"edge", "github.com/gobwas/ws", "github.com/moby/moby/client"},
		{"publisher", "github.com/moby/moby/client", "github.com/gobwas/ws"},
	} {
		t.Run(c.program, func(t *testing.T) {
			i := buildImage(t, engine, c.program)
			if i.User != "65532:65532" {
				t.Errorf("runs as %q", i.User)
			}
			if said, code := i.run(t, "--version"); code != 0 || !strings.Contains(said, c.program) {
				t.Errorf("--version ended with %d: %s", code, said)
			}
			var sbom struct {
				Format     string `json:"bomFormat"`
				Components []struct{ Name, Version, PURL string }
			}
			if err := json.Unmarshal(i.read(t, "/usr/share/sbom/"+c.program+".cdx.json"), &sbom); err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, component := range sbom.Components {
				if component.Version == "" || !strings.HasPrefix(component.PURL, "pkg:golang/") {
					t.Errorf("%+v is no module at a version", component)
				}
				names = append(names, component.Name)
			}
			if sbom.Format != "CycloneDX" || !slices.Contains(names, c.uses) || slices.Contains(names, c.usesNot) {
				t.Errorf("the %s lists %v", sbom.Format, names)
			}
			t.Logf("%d modules, image of %d bytes", len(names), i.size)
		})
	}
}

// image is one that was built.
type image struct {
	engine *client.Client
	name   string
	size   int64
	*api.Config
}

// buildImage gives the engine the Dockerfile and bin/, and removes the image when the test ends.
func buildImage(t *testing.T, engine *dockertest.Engine, program string) image {
	t.Helper()
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	for name, path := range map[string]string{
		"Dockerfile":          filepath.Join(root, "cmd", program, "Dockerfile"),
		program:               filepath.Join(root, "bin", program),
		program + ".cdx.json": filepath.Join(root, "bin", program+".cdx.json"),
	} {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	i := image{engine: engine.Client(), name: "tidings-" + program + ":test"}
	result, err := i.engine.ImageBuild(ctx, &files, client.ImageBuildOptions{Tags: []string{i.name}, Remove: true, Version: build.BuilderV1})
	if err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(result.Body)
	_ = result.Body.Close()
	made, inspectErr := i.engine.ImageInspect(ctx, i.name)
	if err != nil || inspectErr != nil {
		t.Fatalf("build the image: %v, %v\n%s", err, inspectErr, said)
	}
	t.Cleanup(func() {
		if _, err := i.engine.ImageRemove(context.Background(), i.name, client.ImageRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	i.size, i.Config = made.Size, &api.Config{User: made.Config.User}
	return i
}

// create makes a container of the image, which is removed when the test ends.
func (i image) create(t *testing.T, args ...string) string {
	t.Helper()
	made, err := i.engine.ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Config: &api.Config{Image: i.name, Cmd: args}, HostConfig: &api.HostConfig{NetworkMode: "none"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := i.engine.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	return made.ID
}

// run returns what the program says, and its exit code.
func (i image) run(t *testing.T, args ...string) (said string, code int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	id := i.create(t, args...)
	wait := i.engine.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: api.WaitConditionNextExit})
	if _, err := i.engine.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case ended := <-wait.Result:
		code = ended.StatusCode
	case err := <-wait.Error:
		t.Fatal(err)
	}
	logs, err := i.engine.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	content, err := io.ReadAll(logs)
	if err != nil {
		t.Fatal(err)
	}
	return string(content), code
}

// read is the content of a file in the image.
func (i image) read(t *testing.T, path string) []byte {
	t.Helper()
	copied, err := i.engine.CopyFromContainer(t.Context(), i.create(t), client.CopyFromContainerOptions{SourcePath: path})
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Content.Close()
	r := tar.NewReader(copied.Content)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
