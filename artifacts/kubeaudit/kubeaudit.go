// Package kubeaudit reads the audit log of a Kubernetes API server: a JSON
// object a line, audit.k8s.io/v1 and its betas (k8s.io/apiserver,
// pkg/apis/audit/v1/types.go).
//
// Input is hostile: lines are bounded, and lists are cut.
package kubeaudit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"time"

	"lagan/artifacts/lines"
	"lagan/evidence"
)

// Event is one stage of one request.
type Event struct {
	Received     time.Time // by the API server; zero: unknown
	Staged       time.Time // when the stage was reached
	ID           string    // the same for all stages of a request
	Stage        string
	Level        string
	Verb         string
	URI          string
	Username     string
	Groups       []string
	Impersonated string
	SourceIPs    []string // the client first, then proxies: the client may have made them up
	UserAgent    string
	Resource     string // with the subresource: pods/exec
	Group        string // of the API
	Namespace    string
	Name         string
	Container    string // of exec, attach and log
	Command      string // of exec
	Code         string // of the response
	Reason       string // why it failed
	Decision     string // allow, forbid
	Text         string // the line
	Offset       int64
}

// maxList bounds addresses, groups and the arguments of a command.
const maxList = 256

// event is audit.k8s.io's Event, of what is told.
type event struct {
	Kind    string `json:"kind"`
	API     string `json:"apiVersion"`
	Level   string `json:"level"`
	AuditID string `json:"auditID"`
	Stage   string `json:"stage"`
	URI     string `json:"requestURI"`
	Verb    string `json:"verb"`
	User    struct {
		Username string   `json:"username"`
		Groups   []string `json:"groups"`
	} `json:"user"`
	Impersonated struct {
		Username string `json:"username"`
	} `json:"impersonatedUser"`
	SourceIPs []string `json:"sourceIPs"`
	UserAgent string   `json:"userAgent"`
	Object    struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		APIGroup    string `json:"apiGroup"`
	} `json:"objectRef"`
	Status struct {
		Code    int    `json:"code"`
		Reason  string `json:"reason"`
		Message string `json:"message"`
	} `json:"responseStatus"`
	Received    string            `json:"requestReceivedTimestamp"`
	Staged      string            `json:"stageTimestamp"`
	Annotations map[string]string `json:"annotations"`
}

// Read yields the events of a log. A line that is none yields an error.
func Read(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for l, err := range lines.Read(r) {
			var e Event
			if err == nil {
				text := bytes.TrimSpace(l.Text)
				if len(text) == 0 {
					continue
				}
				e, err = parse(text)
				e.Offset = l.Offset
				if err != nil {
					e, err = Event{}, fmt.Errorf("line at offset %#x: %w", l.Offset, err)
				}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func parse(b []byte) (Event, error) {
	var v event
	if err := json.Unmarshal(b, &v); err != nil {
		return Event{}, fmt.Errorf("no JSON of an audit event: %w: %w", err, evidence.ErrCorrupt)
	}
	if v.Kind != "Event" || !strings.HasPrefix(v.API, "audit.k8s.io/") {
		return Event{}, fmt.Errorf("kind %.60q of %.60q is no audit event: %w", v.Kind, v.API, evidence.ErrCorrupt)
	}
	e := Event{
		Received: parseTime(v.Received), Staged: parseTime(v.Staged), ID: v.AuditID, Stage: v.Stage, Level: v.Level, Verb: v.Verb, URI: v.URI,
		Username: v.User.Username, Groups: cut(v.User.Groups), Impersonated: v.Impersonated.Username, SourceIPs: cut(v.SourceIPs), UserAgent: v.UserAgent,
		Resource: v.Object.Resource, Group: v.Object.APIGroup, Namespace: v.Object.Namespace, Name: v.Object.Name,
		Reason: v.Status.Reason, Decision: v.Annotations["authorization.k8s.io/decision"], Text: string(b),
	}
	if v.Object.Subresource != "" {
		e.Resource += "/" + v.Object.Subresource
	}
	if v.Status.Code != 0 {
		e.Code = strconv.Itoa(v.Status.Code)
	}
	if e.Reason == "" && v.Status.Code >= 400 {
		e.Reason = v.Status.Message
	}
	e.query(v.Object.Subresource)
	return e, nil
}

// query reads what the request's address says of exec, attach, log and
// port-forward: ?container=web&command=cat&command=/etc/shadow.
func (e *Event) query(subresource string) {
	switch subresource {
	case "exec", "attach", "log", "portforward", "ephemeralcontainers":
	default:
		return
	}
	_, raw, ok := strings.Cut(e.URI, "?")
	if !ok {
		return
	}
	q, err := url.ParseQuery(raw)
	if err != nil && len(q) == 0 {
		return
	}
	e.Container = q.Get("container")
	e.Command = strings.Join(cut(q["command"]), " ")
}

// parseTime reads a metav1.MicroTime or Time.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

func cut(list []string) []string { return list[:min(len(list), maxList)] }
