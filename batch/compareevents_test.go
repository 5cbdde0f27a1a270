package batch

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// stamp is a line of a timeline as lagan writes it.
func stamp(ns int64, meaning, typ, source, message, rest string) string {
	return fmt.Sprintf(`{"datetime":"T%d","timestamp_desc":%q,"timestamp_nanoseconds":"%d","message":%q,"data_type":%q,"display_name":%q%s}`+"\n", ns, meaning, ns, message, typ, source, rest)
}

func TestCompareEvents(t *testing.T) {
	dir := t.TempDir()
	file := func(ns int64, meaning, path, inode, rest string) string {
		return stamp(ns, meaning, fileEvent, "NODE:"+path, "NODE:"+path+rest, `,"inode":"`+inode+`","file_size":`+fmt.Sprint(len(rest)))
	}
	log := func(ns int64, text, rest string) string {
		return stamp(ns, "Content Modification Time", "syslog:line", "NODE:/var/log/syslog", text, rest)
	}
	timelines := map[string]string{
		"a": file(-5, "Creation Time", "/etc/passwd", "7", "mode 644") + log(1, "started", `,"evidence":"a.img"`) + log(1, "twice", "") + log(1, "twice", "") + log(2, "emptied", "") +
			file(9, "Content Modification Time", "/etc/passwd", "7", "mode 644") + `{"record":"warning","timestamp_nanoseconds":"9","message":"gap"}` + "\n",
		"b": file(-5, "Creation Time", "/etc/passwd", "7", "mode 600") + log(1, "twice", "") + log(1, "started", `,"evidence":"b.img"`) +
			file(12, "Content Modification Time", "/etc/passwd", "7", "mode 600") + file(12, "Creation Time", "/root/x", "8", ""),
	}
	for name, content := range timelines {
		write(t, filepath.Join(dir, name, TimelineFile), content)
	}
	tell := func(every bool, a, b string) string {
		var out []string
		if err := CompareEvents(t.Context(), dir, a, b, every, func(d Difference) error {
			out = append(out, fmt.Sprintf("%s %s %s %d", d.Change, d.Key, d.Name, d.Count))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return strings.Join(out, "\n")
	}
	if got, want := tell(true, "a", "b"), `removed T1 Content Modification Time: twice 0
removed T2 Content Modification Time: emptied 0
removed T9 Content Modification Time: NODE:/etc/passwdmode 644 0
added T12 Content Modification Time: NODE:/etc/passwdmode 600 0
added T12 Creation Time: NODE:/root/x 0`; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := tell(false, "a", "b"), "added  2 events, T12 to T12 2\nremoved  3 events, T1 to T9 3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := tell(true, "a", "a") + tell(false, "b", "b") + tell(true, "a", "none"); got != "" {
		t.Errorf("the same differs: %s", got)
	}
}
