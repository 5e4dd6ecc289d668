//go:build unix

package dockertest

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/client"
)

// image is the name of the image of all test containers: the probe, and nothing
// else. It can't be pulled from anywhere.
const image = "tidings-probe:latest"

// load builds the probe and imports an image that holds it.
func (e *Engine) load() error {
	program := filepath.Join(e.dir, "probe")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "tidings/publisher/docker/dockertest/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the probe: %w: %s", err, bytes.TrimSpace(said))
	}
	files, err := archive(program)
	if err != nil {
		return err
	}
	name, tag, _ := strings.Cut(image, ":")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	result, err := e.client.ImageImport(ctx, client.ImageImportSource{Source: files, SourceName: "-"}, name, client.ImageImportOptions{
		Tag: tag, Changes: []string{`ENTRYPOINT ["/probe"]`, `CMD ["run"]`},
	})
	if err != nil {
		return fmt.Errorf("import the image: %w", err)
	}
	defer result.Close()
	if _, err := io.Copy(io.Discard, result); err != nil {
		return fmt.Errorf("import the image: %w", err)
	}
	return nil
}

// archive is the root file system of an image: one program.
func archive(program string) (io.Reader, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	if err := w.WriteHeader(&tar.Header{Name: "probe", Mode: 0o755, Size: int64(len(content))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	return &files, w.Close()
}
