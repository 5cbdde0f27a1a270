package kubeaudit

import (
	"errors"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
)

const exec = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"0b1c-1","stage":"ResponseStarted","requestURI":"/api/v1/namespaces/shop/pods/web-1/exec?command=cat&command=%2Fetc%2Fshadow&container=nginx&stdin=true","verb":"create","user":{"username":"kubernetes-admin","uid":"7","groups":["system:masters","system:authenticated"]},"sourceIPs":["203.0.113.9","10.0.0.2"],"userAgent":"kubectl/v1.30.0 (linux/amd64)","objectRef":{"resource":"pods","namespace":"shop","name":"web-1","apiVersion":"v1","subresource":"exec"},"responseStatus":{"metadata":{},"code":101},"requestReceivedTimestamp":"2026-01-02T03:04:05.123456Z","stageTimestamp":"2026-01-02T03:04:05.223456Z","annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":""}}`

const denied = `{"kind":"Event","apiVersion":"audit.k8s.io/v1beta1","level":"Request","auditID":"2","stage":"ResponseComplete","requestURI":"/apis/apps/v1/deployments","verb":"list","user":{"username":"system:anonymous"},"impersonatedUser":{"username":"root"},"objectRef":{"resource":"deployments","apiGroup":"apps"},"responseStatus":{"status":"Failure","message":"deployments.apps is forbidden","code":403},"stageTimestamp":"2026-01-02T04:04:05+01:00"}`

func TestRead(t *testing.T) {
	var got []Event
	var errs []error
	for e, err := range Read(strings.NewReader(exec + "\n\n" + denied + "\n" + `{"kind":"Pod","apiVersion":"v1"}` + "\n" + exec[:200])) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		got = append(got, e)
	}
	if len(got) != 2 || len(errs) != 2 {
		t.Fatalf("%d events, %v", len(got), errs)
	}
	for _, err := range errs {
		if !errors.Is(err, evidence.ErrCorrupt) {
			t.Error(err)
		}
	}
	e := got[0]
	if !e.Received.Equal(time.Date(2026, 1, 2, 3, 4, 5, 123456000, time.UTC)) || !e.Staged.Equal(e.Received.Add(100*time.Millisecond)) {
		t.Errorf("times %v, %v", e.Received, e.Staged)
	}
	if e.Resource != "pods/exec" || e.Namespace != "shop" || e.Name != "web-1" || e.Container != "nginx" || e.Command != "cat /etc/shadow" || e.Code != "101" ||
		e.Username != "kubernetes-admin" || len(e.Groups) != 2 || e.SourceIPs[0] != "203.0.113.9" || e.Decision != "allow" || e.Verb != "create" || e.Stage != "ResponseStarted" || e.ID != "0b1c-1" {
		t.Errorf("%+v", e)
	}
	e = got[1]
	if !e.Received.IsZero() || !e.Staged.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) || e.Resource != "deployments" || e.Group != "apps" || e.Impersonated != "root" ||
		e.Code != "403" || e.Reason != "deployments.apps is forbidden" || e.Command != "" || e.Offset != int64(len(exec)+2) {
		t.Errorf("%+v", e)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(exec)
	f.Add(denied)
	f.Fuzz(func(t *testing.T, text string) {
		for e, err := range Read(strings.NewReader(text)) {
			if err != nil && !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, evidence.ErrUnsupported) {
				t.Fatal(err)
			}
			if err != nil && (e.Text != "" || e.Offset != 0) {
				t.Fatal("an event beside an error")
			}
		}
	})
}
