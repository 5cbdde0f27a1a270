package aws

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/internal/needs"
)

const (
	trailRecord = `{"eventVersion":"1.08","userIdentity":{"type":"AssumedRole","principalId":"AROA:i-1","arn":"arn:aws:sts::1:assumed-role/node/i-1","accountId":"1","accessKeyId":"ASIAX","sessionContext":{"sessionIssuer":{"type":"Role","userName":"node"}}},"eventTime":"2026-01-02T03:04:05Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"eu-west-1","sourceIPAddress":"203.0.113.9","userAgent":"aws-cli","errorCode":"AccessDenied","errorMessage":"no","readOnly":true,"resources":[{"ARN":"arn:aws:s3:::x"}],"eventID":"e-1","recipientAccountId":"1"}`
	dutyFinding = `{"schemaVersion":"2.0","accountId":"1","region":"eu-west-1","id":"f-1","arn":"arn:f","type":"UnauthorizedAccess:EC2/SSHBruteForce","resource":{"resourceType":"Instance","instanceDetails":{"instanceId":"i-1"}},"service":{"serviceName":"guardduty","action":{"actionType":"NETWORK_CONNECTION","networkConnectionAction":{"remoteIpDetails":{"ipAddressV4":"203.0.113.9"},"remotePortDetails":{"port":4000}}},"eventFirstSeen":"2026-01-02T03:04:05Z","eventLastSeen":"2026-01-02T04:04:05Z"},"severity":8.5,"createdAt":"2026-01-02T05:00:00Z","updatedAt":"2026-01-02T05:00:00Z","title":"t","description":"d"}`
	flowLine    = "2 123456789010 eni-1 203.0.113.9 10.0.0.5 40022 22 6 20 4249 1767323045 1767323105 ACCEPT OK"
)

func read(t *testing.T, text string) (out []Entry, errs []error) {
	t.Helper()
	for e, err := range Read(strings.NewReader(text)) {
		if err != nil {
			errs = append(errs, err)
		} else {
			out = append(out, e)
		}
	}
	return out, errs
}

func TestRead(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		name, text string
		kinds      []Kind
		err        error
	}{
		{"S3", `{"Records":[` + trailRecord + `,` + trailRecord + `]}`, []Kind{CloudTrail, CloudTrail}, nil},
		{"lines", trailRecord + "\n" + dutyFinding + "\n", []Kind{CloudTrail, GuardDuty}, nil},
		{"list", " [" + trailRecord + "]", []Kind{CloudTrail}, nil},
		{"lookup", `{"Events": [{"EventId":"e-1","EventTime":1767323045.0,"Username":"node","CloudTrailEvent":` + quote(trailRecord) + `}]}`, []Kind{CloudTrail}, nil},
		{"findings", "{\n \"Findings\": [" + dutyFinding + "]}", []Kind{GuardDuty}, nil},
		{"EventBridge", `{"detail-type":"GuardDuty Finding","detail":` + dutyFinding + `}`, []Kind{GuardDuty}, nil},
		{"an export of CloudWatch", "2026-01-02T03:04:05.000Z I0102 03:04:05.1 1 a.go:1] x\n goes on\n2026-01-02T03:04:06.000Z {}\n", []Kind{Other, Other}, nil},
		{"CloudWatch", `{"events":[{"timestamp":1,"message":"{}"}]}`, []Kind{Other}, nil},
		{"flow", flowLine + "\n", []Kind{Flow}, nil},
		{"flow, header", "interface-id srcaddr dstaddr start end\neni-1 203.0.113.9 10.0.0.5 1767323045 1767323105\n", []Kind{Flow}, nil},
		{"flow, short", "2 3\n" + flowLine, []Kind{Flow}, evidence.ErrCorrupt},
		{"flow, no time", strings.Replace(flowLine, "1767323045", "x", 1), nil, evidence.ErrCorrupt},
		{"cut", `{"Records":[` + trailRecord + `,{"eventV`, []Kind{CloudTrail}, evidence.ErrCorrupt},
		{"cut between", `{"Records":[` + trailRecord, []Kind{CloudTrail}, evidence.ErrCorrupt},
		{"other", `{"a":1}`, nil, evidence.ErrUnsupported},
		{"empty list", `{"Records":[]}`, nil, nil},
		{"nothing", "", nil, nil},
	} {
		got, errs := read(t, test.text)
		var kinds []Kind
		for _, e := range got {
			kinds = append(kinds, e.Kind)
			if e.Kind != Other && (!e.Time.Equal(at) || e.SourceIP != "203.0.113.9") {
				t.Errorf("%s: %v, %q", test.name, e.Time, e.SourceIP)
			}
		}
		if len(kinds) != len(test.kinds) || string(bytesOf(kinds)) != string(bytesOf(test.kinds)) {
			t.Errorf("%s: kinds %v, want %v", test.name, kinds, test.kinds)
		}
		if err := errors.Join(errs...); test.err == nil && err != nil || !errors.Is(err, test.err) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func bytesOf(kinds []Kind) (b []byte) {
	for _, k := range kinds {
		b = append(b, byte(k))
	}
	return b
}

func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` }

func TestFields(t *testing.T) {
	got, _ := read(t, trailRecord)
	if e := got[0]; e.User != "node" || e.AccessKey != "ASIAX" || e.Name != "GetObject" || e.Error != "AccessDenied no" || e.Region != "eu-west-1" || e.Account != "1" || e.Resources != `[{"ARN":"arn:aws:s3:::x"}]` || e.ReadOnly != "true" {
		t.Errorf("%+v", e)
	}
	got, _ = read(t, dutyFinding)
	if e := got[0]; e.Name != "UnauthorizedAccess:EC2/SSHBruteForce" || e.Severity != "8.5" || e.Port != "4000" || !e.End.Equal(e.Time.Add(time.Hour)) || !strings.Contains(e.Resources, "i-1") {
		t.Errorf("%+v", e)
	}
	got, _ = read(t, flowLine)
	if e := got[0]; e.DestinationIP != "10.0.0.5" || e.DestinationPort != "22" || e.Protocol != "TCP" || e.Action != "ACCEPT" || !e.End.Equal(e.Time.Add(time.Minute)) {
		t.Errorf("%+v", e)
	}
}

// TestPlaso reads plaso's file; its test expects six events
// (tests/parsers/jsonl_plugins/aws_cloudtrail_log.py).
func TestPlaso(t *testing.T) {
	dir := needs.Corpora(t)
	b, err := os.ReadFile(filepath.Join(dir, "plaso", "jsonl", "aws_cloudtrail.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	got, errs := read(t, string(b))
	if len(got) != 6 || len(errs) != 0 {
		t.Fatalf("%d events, %v", len(got), errs)
	}
	if e := got[0]; e.User != "fakeusername" || e.AccessKey != "0123456789ABCDEFGHIJ" || e.SourceIP != "1.2.3.4" || e.Name != "DescribeInstances" || !e.Time.Equal(time.Date(2022, 2, 7, 22, 23, 37, 0, time.UTC)) {
		t.Errorf("%+v", e)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"Records":[` + trailRecord + `]}`)
	f.Add(dutyFinding + "\n" + `{"detail":` + dutyFinding + `}`)
	f.Add("version srcaddr start\n2 1.2.3.4 5\n" + flowLine)
	f.Fuzz(func(t *testing.T, text string) {
		for _, err := range Read(strings.NewReader(text)) {
			if err != nil && !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, evidence.ErrUnsupported) {
				t.Fatal(err)
			}
		}
	})
}
