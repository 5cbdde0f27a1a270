package aws

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"lagan/artifacts/lines"
	"lagan/evidence"
)

// flowFields are those of version 2, in its order: what a log without a header has.
const flowFields = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"

// protocols names the usual ones of IANA's numbers.
var protocols = map[string]string{"1": "ICMP", "6": "TCP", "17": "UDP", "58": "ICMPv6"}

// readFlows reads VPC flow logs: words, the first line names them.
func readFlows(r io.Reader, yield func(Entry, error) bool) {
	names := strings.Fields(flowFields)
	for l, err := range lines.Read(r) {
		var e Entry
		if err == nil {
			words := strings.Fields(string(bytes.TrimPrefix(l.Text, []byte("\xef\xbb\xbf"))))
			if len(words) == 0 {
				continue
			}
			if isHeader(words) {
				names = words
				continue
			}
			e, err = flow(names, words)
			if err != nil {
				err = fmt.Errorf("line at offset %#x: %w", l.Offset, err)
			}
			e.Offset = l.Offset
		}
		if err != nil {
			e = Entry{}
		}
		if !yield(e, err) {
			return
		}
	}
}

func isHeader(words []string) bool {
	for _, w := range words {
		if w == "srcaddr" || w == "interface-id" {
			return true
		}
	}
	return false
}

func flow(names, words []string) (Entry, error) {
	if len(words) != len(names) {
		return Entry{}, fmt.Errorf("%d words where a flow has %d: %w", len(words), len(names), evidence.ErrCorrupt)
	}
	e := Entry{Kind: Flow, Text: strings.Join(words, " ")}
	to := map[string]*string{
		"account-id": &e.Account, "interface-id": &e.Interface, "srcaddr": &e.SourceIP, "dstaddr": &e.DestinationIP, "srcport": &e.Port, "dstport": &e.DestinationPort,
		"protocol": &e.Protocol, "packets": &e.Packets, "bytes": &e.Bytes, "action": &e.Action, "region": &e.Region,
	}
	for i, name := range names {
		word := words[i]
		if word == "-" {
			continue
		}
		switch name {
		case "start", "end":
			n, err := strconv.ParseInt(word, 10, 64)
			if err != nil || n < 0 || n > 1<<40 {
				return Entry{}, fmt.Errorf("%s %.40q: %w", name, word, evidence.ErrCorrupt)
			}
			if name == "start" {
				e.Time = time.Unix(n, 0).UTC()
			} else {
				e.End = time.Unix(n, 0).UTC()
			}
		default:
			if p := to[name]; p != nil {
				*p = word
			}
		}
	}
	e.Protocol = firstOf(protocols[e.Protocol], e.Protocol)
	if e.Time.IsZero() && e.End.IsZero() {
		return Entry{}, fmt.Errorf("a flow without times: %w", evidence.ErrCorrupt)
	}
	return e, nil
}
