package layers

import (
	"fmt"
	"io"
	"sync"

	"lagan/evidence"
)

// Folder is a folder that a layer was unpacked into.
type Folder struct {
	FS      evidence.FS
	Options CompareOptions
}

// CompareTarWith is CompareTar for several folders of one layer, whose tar is
// read once. The results are in the folders' order; the error is the tar's.
func CompareTarWith(r io.Reader, folders []Folder) ([]*Comparison, error) {
	if len(folders) == 1 {
		c, err := CompareTar(r, folders[0].FS, folders[0].Options)
		return []*Comparison{c}, err
	}
	out := make([]*Comparison, len(folders))
	errs := make([]error, len(folders))
	pipes := make([]io.Writer, len(folders))
	ends := make([]*io.PipeWriter, len(folders))
	var wg sync.WaitGroup
	for i, f := range folders {
		pr, pw := io.Pipe()
		pipes[i], ends[i] = pw, pw
		wg.Go(func() {
			defer io.Copy(io.Discard, pr) // what is behind its end, or its error: the others need it
			defer func() {
				if r := recover(); r != nil { // no one above this goroutine could
					errs[i] = fmt.Errorf("internal error: %v", r)
				}
			}()
			out[i], errs[i] = CompareTar(pr, f.FS, f.Options)
		})
	}
	_, err := io.CopyBuffer(io.MultiWriter(pipes...), onlyReader{r}, make([]byte, compareBuffer))
	for _, pw := range ends {
		pw.CloseWithError(err) // nil: the end
	}
	wg.Wait()
	for _, e := range errs {
		if err == nil {
			err = e
		}
	}
	return out, err
}
