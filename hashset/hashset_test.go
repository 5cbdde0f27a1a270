package hashset_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/hashset"
	"lagan/internal/needs"
)

func sums(content string) (m, s1, s256 []byte) {
	a, b, c := md5.Sum([]byte(content)), sha1.Sum([]byte(content)), sha256.Sum256([]byte(content))
	return a[:], b[:], c[:]
}

func read(t testing.TB, text string) (*hashset.Set, error) {
	t.Helper()
	return hashset.Read("list", bytes.NewReader([]byte(text)), func(err error) { t.Logf("%v", err) })
}

func TestLists(t *testing.T) {
	m, s1, s256 := sums("known")
	other := strings.Repeat("ab", 32)
	for _, tc := range []struct {
		name, text string
		with       hashset.Algorithm
		ignored    int64
	}{
		{"plain SHA-256", fmt.Sprintf("# mine\n\n%x\n", s256), hashset.SHA256, 0},
		{"plain SHA-1, capitals, CRLF", fmt.Sprintf("%X\r\n", s1), hashset.SHA1, 0},
		{"plain MD5 without an end", fmt.Sprintf("%x", m), hashset.MD5, 0},
		{"sha256sum", fmt.Sprintf("%x  /var/lib/docker/%s\n\\%x  new\\nline\n", s256, other, s256), hashset.SHA256, 0},
		{"BSD", fmt.Sprintf("SHA256 (/a (b) = c) = %x\n", s256), hashset.SHA256, 0},
		{"hashdeep", fmt.Sprintf("%%%%%%%% HASHDEEP-1.0\n%%%%%%%% size,md5,sha256,filename\n## Invoked from: /\n5,%x,%x,/etc/%s,x\nbroken\n", m, s256, other), hashset.SHA256, 1},
		{"hashdeep with MD5 alone", fmt.Sprintf("%%%%%%%% HASHDEEP-1.0\n%%%%%%%% size,md5,filename\n5,%x,/x\n", m), hashset.MD5, 0},
		{"NSRLFile.txt", fmt.Sprintf("\"SHA-1\",\"MD5\",\"CRC32\",\"FileName\"\n\"%X\",\"%X\",\"00000000\",\"%s\"\n", s1, m, other), hashset.SHA1, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := read(t, tc.text)
			if err != nil {
				t.Fatal(err)
			}
			for a, sum := range map[hashset.Algorithm][]byte{hashset.MD5: m, hashset.SHA1: s1, hashset.SHA256: s256} {
				if s.Uses(a) != (a == tc.with) || s.Has(a, sum) != (a == tc.with) {
					t.Errorf("algorithm %d: uses %v, has %v", a, s.Uses(a), s.Has(a, sum))
				}
			}
			if s.Ignored != tc.ignored || s.Len() != 1 {
				t.Errorf("%d ignored, %d hashes", s.Ignored, s.Len())
			}
			if _, _, no := sums("other"); s.Has(hashset.SHA256, no) || s.Has(hashset.SHA256, nil) {
				t.Error("what isn't there is found")
			}
		})
	}
	for _, text := range []string{"", "nothing here\n", "/var/lib/" + other + "\n", strings.Repeat("x", 1<<17)} {
		if _, err := read(t, text); err == nil {
			t.Errorf("%.20q is taken for a list", text)
		} else if len(text) < 100 && !errors.Is(err, evidence.ErrFormat) {
			t.Error(err)
		}
	}
}

// TestNSRL reads a database of RDSv3's schema that sqlite3 made.
func TestNSRL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rds.db")
	var sql strings.Builder
	sql.WriteString(`CREATE TABLE MFG (manufacturer_id INTEGER NOT NULL, name VARCHAR NOT NULL, CONSTRAINT PK_MFG__MFG_ID PRIMARY KEY (manufacturer_id));
CREATE TABLE FILE (sha256 VARCHAR NOT NULL, sha1 VARCHAR NOT NULL, md5 VARCHAR NOT NULL, crc32 VARCHAR NOT NULL, file_name VARCHAR NOT NULL, file_size INTEGER NOT NULL, package_id INTEGER NOT NULL, CONSTRAINT PK_FILE__ALL PRIMARY KEY (sha256, sha1, md5, file_name, file_size, package_id));
CREATE VIEW DISTINCT_HASH AS SELECT DISTINCT sha256, sha1, md5, crc32 FROM FILE; BEGIN;`)
	const rows = 3000
	for i := range rows {
		m, s1, s256 := sums(fmt.Sprint(i))
		fmt.Fprintf(&sql, "INSERT INTO FILE VALUES ('%X','%X','%X','00000000','f%d',%d,1);\n", s256, s1, m, i, i)
	}
	sql.WriteString("COMMIT;")
	cmd := exec.Command(needs.Tool(t, "sqlite3"), path)
	cmd.Stdin = strings.NewReader(sql.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := hashset.Read("rds.db", bytes.NewReader(b), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		if _, _, sum := sums(fmt.Sprint(i)); !s.Has(hashset.SHA256, sum) {
			t.Fatalf("row %d is missing", i)
		}
	}
	if s.Len() != rows || s.Uses(hashset.SHA1) {
		t.Errorf("%d hashes", s.Len())
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("%%%% size,md5,sha256,filename\n5,d41d8cd98f00b204e9800998ecf8427e,x,y\n"))
	f.Add([]byte("SQLite format 3\x00\x10\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := hashset.Read("list", bytes.NewReader(b), func(error) {})
		if (s == nil) != (err != nil) {
			t.Error(s, err)
		}
	})
}
