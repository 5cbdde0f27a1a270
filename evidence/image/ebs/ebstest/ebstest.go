// Package ebstest is a service of ours that answers as the EBS direct APIs do,
// for tests: the blocks of a disk's image, and all that goes wrong on the way.
package ebstest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// blockSize is that of all snapshots.
const blockSize = 512 << 10

// Server answers for one snapshot. Its fields may be changed between requests.
type Server struct {
	Snapshot string
	Disk     io.ReaderAt
	Size     int64 // of the disk
	// Throttle, Break, Cut and Damage say that every so manyth request for a block is
	// refused, fails, ends in the middle, or brings another byte; 0: none.
	Throttle, Break, Cut, Damage int
	// Renew makes tokens new, and all older ones wrong, with every so manyth block; 0: never.
	Renew int
	// Deny refuses everything.
	Deny bool

	mu         sync.Mutex
	generation int
	gets       int
	unsigned   int
	got        map[int64]int
}

// Blocks returns how often blocks were delivered, and how many different ones.
func (s *Server) Blocks() (times, different int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.got {
		times += n
	}
	return times, len(s.got)
}

// Existing returns how many blocks the snapshot has.
func (s *Server) Existing() (n int) {
	for i := int64(0); i*blockSize < s.Size; i++ {
		if s.exists(i, make([]byte, blockSize)) {
			n++
		}
	}
	return n
}

// exists says whether a block is anything but zeros.
func (s *Server) exists(i int64, buf []byte) bool {
	n, _ := s.Disk.ReadAt(buf, i*blockSize)
	return bytes.Count(buf[:n], []byte{0}) < n
}

// Unsigned returns how many requests had no signature.
func (s *Server) Unsigned() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsigned
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=") {
		s.unsigned++
	}
	rest, ok := strings.CutPrefix(r.URL.Path, "/snapshots/"+s.Snapshot+"/blocks")
	switch {
	case s.Deny:
		refuse(w, http.StatusForbidden, "AccessDeniedException", "UNAUTHORIZED_ACCOUNT")
	case !ok || r.Method != http.MethodGet:
		refuse(w, http.StatusNotFound, "ResourceNotFoundException", "SNAPSHOT_NOT_FOUND")
	case rest == "":
		s.list(w, r)
	default:
		s.block(w, r, strings.TrimPrefix(rest, "/"))
	}
}

func refuse(w http.ResponseWriter, status int, kind, reason string) {
	w.Header().Set("x-amzn-ErrorType", kind)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"message": "as the test wants it", "Reason": reason})
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	most, _ := strconv.Atoi(q.Get("maxResults"))
	start, _ := strconv.ParseInt(q.Get("startingBlockIndex"), 10, 64)
	if next := q.Get("pageToken"); next != "" {
		b, _ := hex.DecodeString(next) // what isn't hexadecimal is no number either
		var err error
		if start, err = strconv.ParseInt(string(b), 10, 64); err != nil {
			refuse(w, http.StatusBadRequest, "ValidationException", "INVALID_PAGE_TOKEN")
			return
		}
	}
	type entry struct {
		BlockIndex int64
		BlockToken string
	}
	out := struct {
		Blocks     []entry
		NextToken  string `json:",omitempty"`
		BlockSize  int64
		VolumeSize int64
		ExpiryTime float64
	}{Blocks: []entry{}, BlockSize: blockSize, VolumeSize: (s.Size + 1<<30 - 1) >> 30, ExpiryTime: float64(time.Now().Add(time.Hour).Unix())}
	buf := make([]byte, blockSize)
	for i := start; i*blockSize < s.Size; i++ {
		if len(out.Blocks) == min(most, 1000) {
			out.NextToken = hex.EncodeToString([]byte(strconv.FormatInt(i, 10)))
			break
		}
		if s.exists(i, buf) {
			out.Blocks = append(out.Blocks, entry{i, s.token(i)})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(out)
}

func (s *Server) token(i int64) string {
	return hex.EncodeToString(fmt.Appendf(nil, "%d-%d", s.generation, i))
}

func (s *Server) block(w http.ResponseWriter, r *http.Request, name string) {
	every := func(n int) bool { return n > 0 && s.gets%n == 0 }
	s.gets++
	i, err := strconv.ParseInt(name, 10, 64)
	switch {
	case every(s.Throttle):
		refuse(w, http.StatusBadRequest, "RequestThrottledException", "ACCOUNT_THROTTLED")
		return
	case every(s.Break):
		refuse(w, http.StatusInternalServerError, "InternalServerException", "")
		return
	case err != nil || r.URL.Query().Get("blockToken") != s.token(i):
		refuse(w, http.StatusBadRequest, "ValidationException", "INVALID_BLOCK_TOKEN")
		return
	}
	data := make([]byte, blockSize)
	if _, err := s.Disk.ReadAt(data, i*blockSize); err != nil && err != io.EOF {
		refuse(w, http.StatusInternalServerError, "InternalServerException", "")
		return
	}
	sum := sha256.Sum256(data)
	w.Header().Set("x-amz-Checksum", base64.StdEncoding.EncodeToString(sum[:]))
	w.Header().Set("x-amz-Checksum-Algorithm", "SHA256")
	w.Header().Set("x-amz-Data-Length", strconv.Itoa(blockSize))
	w.Header().Set("Content-Length", strconv.Itoa(blockSize))
	switch {
	case every(s.Cut):
		data = data[:blockSize/3] // and the connection is closed, as more was promised
	case every(s.Damage):
		data[blockSize/2] ^= 1
	default:
		if s.got == nil {
			s.got = map[int64]int{}
		}
		s.got[i]++
	}
	if every(s.Renew) {
		s.generation++
	}
	w.Write(data)
}
