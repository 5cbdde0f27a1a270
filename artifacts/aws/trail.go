package aws

import (
	"bytes"
	"encoding/json"
	"strings"
)

// trailEvent is CloudTrail's record (CloudTrail record contents, version 1.11).
type trailEvent struct {
	EventID, EventName, EventSource, EventType, AWSRegion, SourceIPAddress, UserAgent, ErrorCode, ErrorMessage, RecipientAccountID string

	EventTime    flexible
	ReadOnly     any
	Resources    json.RawMessage
	UserIdentity struct {
		Type, UserName, PrincipalID, ARN, AccountID, AccessKeyID, InvokedBy string

		SessionContext struct {
			SessionIssuer struct{ UserName string }
		}
	}
}

func trail(raw []byte) (Entry, error) {
	var v trailEvent
	if err := loose(raw, &v); err != nil {
		return Entry{}, err
	}
	u := &v.UserIdentity
	e := Entry{
		Kind: CloudTrail, Time: v.EventTime.Time, ID: v.EventID, Name: v.EventName, Source: v.EventSource,
		User: firstOf(u.UserName, u.SessionContext.SessionIssuer.UserName, u.InvokedBy, rootName(u.Type), u.PrincipalID), ARN: u.ARN, AccessKey: u.AccessKeyID,
		SourceIP: v.SourceIPAddress, UserAgent: v.UserAgent, Region: v.AWSRegion, Account: firstOf(v.RecipientAccountID, u.AccountID),
		Resources: list(v.Resources), Error: strings.TrimSpace(v.ErrorCode + " " + v.ErrorMessage), Text: compactText(raw),
	}
	if b, ok := v.ReadOnly.(bool); ok {
		e.ReadOnly = map[bool]string{true: "true", false: "false"}[b]
	}
	return e, nil
}

// rootName is the name of an account's owner, who has none.
func rootName(kind string) string {
	if kind == "Root" {
		return "root"
	}
	return ""
}

// lookup reads what `aws cloudtrail lookup-events` prints: the record as text
// within a summary.
func lookup(raw []byte, inner string) (Entry, error) {
	var v struct {
		EventTime                                              flexible
		EventID, EventName, EventSource, Username, AccessKeyID string
		Resources                                              json.RawMessage
	}
	if err := loose(raw, &v); err != nil {
		return Entry{}, err
	}
	e, err := trail([]byte(inner))
	if err != nil {
		return Entry{}, err
	}
	if e.Time.IsZero() {
		e.Time = v.EventTime.Time
	}
	e.ID, e.Name, e.Source = firstOf(e.ID, v.EventID), firstOf(e.Name, v.EventName), firstOf(e.Source, v.EventSource)
	e.User, e.AccessKey = firstOf(v.Username, e.User), firstOf(e.AccessKey, v.AccessKeyID)
	e.Resources = firstOf(list(v.Resources), e.Resources)
	return e, nil
}

// list is a list as compact JSON, "" where it is empty or none.
func list(raw json.RawMessage) string {
	s := compactText(raw)
	if len(s) <= 2 || s[0] != '[' {
		return ""
	}
	return s
}

func compactText(raw []byte) string {
	var b bytes.Buffer
	if len(raw) == 0 || json.Compact(&b, raw) != nil {
		return ""
	}
	return b.String()
}
