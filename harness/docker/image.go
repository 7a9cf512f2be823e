package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
)

// labelImage marks the images that this package makes.
const labelImage = "assay.image"

// imageAge is how old an image of ours must be to be removed when another is
// made: a run that is about to use it must not lose it.
const imageAge = 24 * time.Hour

// ensureImage gives the reference of an image that the engine has. Images made
// of files are named by their content, so the same one is made only once.
func (e *engine) ensureImage(ctx context.Context, name string, img Image, logf func(string, ...any)) (string, error) {
	if img.Ref != "" {
		if len(img.Files) > 0 {
			return "", fmt.Errorf("docker: image %s: both Ref and Files are given: want one of them", img.Ref)
		}
		if _, err := e.ImageInspect(ctx, img.Ref); err == nil {
			return img.Ref, nil
		} else if !cerrdefs.IsNotFound(err) {
			return "", fmt.Errorf("docker: image %s: %w", img.Ref, err)
		}
		logf("pulling image %s", img.Ref)
		if err := e.containers.PullImage(ctx, img.Ref); err != nil {
			return "", fmt.Errorf("docker: image %s is not on the engine and cannot be pulled: %w", img.Ref, err)
		}
		return img.Ref, nil
	}
	archive, err := imageTar(img.Files)
	if err != nil {
		return "", fmt.Errorf("docker: image %s: %w", name, err)
	}
	entrypoint, err := json.Marshal(img.Entrypoint)
	if err != nil {
		return "", fmt.Errorf("docker: image %s: %w", name, err)
	}
	sum := sha256.New()
	sum.Write(archive)
	sum.Write(entrypoint)
	ref := "assay/" + name + ":" + hex.EncodeToString(sum.Sum(nil))[:16]
	if _, err := e.ImageInspect(ctx, ref); err == nil {
		return ref, nil
	} else if !cerrdefs.IsNotFound(err) {
		return "", fmt.Errorf("docker: image %s: %w", ref, err)
	}
	logf("making image %s (%d MB)", ref, len(archive)>>20)
	if err := e.importImage(ctx, ref, archive, []string{
		"ENTRYPOINT " + string(entrypoint),
		"LABEL " + labelImage + "=" + name,
	}); err != nil {
		return "", fmt.Errorf("docker: make image %s: %w", ref, err)
	}
	e.removeOldImages(ctx, name, ref)
	return ref, nil
}

// importImage needs no builder, which engines differ in.
func (e *engine) importImage(ctx context.Context, ref string, archive []byte, changes []string) error {
	resp, err := e.ImageImport(ctx,
		image.ImportSource{Source: bytes.NewReader(archive), SourceName: "-"}, ref,
		image.ImportOptions{Changes: changes, Platform: "linux/" + e.arch})
	if err != nil {
		return err
	}
	defer resp.Close()
	for d := json.NewDecoder(resp); ; {
		var progress struct{ Error string }
		if err := d.Decode(&progress); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if progress.Error != "" {
			return errors.New(progress.Error)
		}
	}
}

// removeOldImages keeps the cache small. What fails here fails again, and is
// tried again, when the next image is made.
func (e *engine) removeOldImages(ctx context.Context, name, but string) {
	images, err := e.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", labelImage+"="+name))})
	if err != nil {
		return
	}
	for _, i := range images {
		if time.Since(time.Unix(i.Created, 0)) < imageAge || (len(i.RepoTags) > 0 && i.RepoTags[0] == but) {
			continue
		}
		// Without force the engine keeps an image that a container uses.
		_, _ = e.ImageRemove(ctx, i.ID, image.RemoveOptions{PruneChildren: true})
	}
}

// imageTar is an image's file system: the same files give the same bytes.
func imageTar(files []File) ([]byte, error) {
	if len(files) == 0 {
		return nil, errors.New("it has neither a reference nor files")
	}
	files = append([]File(nil), files...)
	sort.Slice(files, func(i, j int) bool { return files[i].Path < files[j].Path })
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	isDir := map[string]bool{".": true} // of every name in the archive
	for _, f := range files {
		if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/" {
			return nil, fmt.Errorf("file %q: want a clean absolute path", f.Path)
		}
		name := strings.TrimPrefix(f.Path, "/")
		if _, there := isDir[name]; there {
			return nil, fmt.Errorf("file %q is there twice", f.Path)
		}
		if err := addParents(w, name, isDir); err != nil {
			return nil, fmt.Errorf("file %q: %w", f.Path, err)
		}
		isDir[name] = false
		data := f.Data
		if data == nil && f.Source != "" {
			var err error
			if data, err = os.ReadFile(f.Source); err != nil {
				return nil, fmt.Errorf("file %q: %w", f.Path, err)
			}
		}
		mode := int64(f.Mode.Perm())
		if mode == 0 {
			mode = 0o755
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data))}); err != nil {
			return nil, fmt.Errorf("file %q: %w", f.Path, err)
		}
		if _, err := w.Write(data); err != nil {
			return nil, fmt.Errorf("file %q: %w", f.Path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func addParents(w *tar.Writer, name string, isDir map[string]bool) error {
	dir := path.Dir(name)
	switch is, there := isDir[dir]; {
	case is:
		return nil
	case there:
		return fmt.Errorf("/%s is a file too", dir)
	}
	if err := addParents(w, dir, isDir); err != nil {
		return err
	}
	isDir[dir] = true
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755})
}
