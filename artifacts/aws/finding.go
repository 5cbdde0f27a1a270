package aws

import (
	"encoding/json"
	"strconv"
)

// remote is the other side of what a finding is about.
type remote struct {
	RemoteIPDetails   struct{ IPAddressV4, IPAddressV6 string }
	RemotePortDetails struct{ Port int }
}

// guardDuty is a finding (GuardDuty API, Finding); names begin small in S3 and
// with a capital in what the API returns.
type guardDuty struct {
	ID, ARN, Type, Region, AccountID, Title, Description string

	Severity             json.Number
	CreatedAt, UpdatedAt flexible
	Resource             json.RawMessage
	Service              struct {
		EventFirstSeen, EventLastSeen flexible
		Action                        struct {
			NetworkConnectionAction, AWSAPICallAction, KubernetesAPICallAction, RDSLoginAttemptAction remote
			PortProbeAction                                                                           struct{ PortProbeDetails []remote }
		}
	}
}

func finding(raw []byte) (Entry, error) {
	var v guardDuty
	if err := loose(raw, &v); err != nil {
		return Entry{}, err
	}
	var who struct {
		AccessKeyDetails  struct{ AccessKeyID, UserName string }
		KubernetesDetails struct{ KubernetesUserDetails struct{ Username string } }
	}
	if len(v.Resource) > 0 {
		if err := loose(v.Resource, &who); err != nil {
			return Entry{}, err
		}
	}
	e := Entry{
		Kind: GuardDuty, Time: v.Service.EventFirstSeen.Time, End: v.Service.EventLastSeen.Time, ID: v.ID, Name: v.Type, Source: "guardduty.amazonaws.com",
		User: firstOf(who.AccessKeyDetails.UserName, who.KubernetesDetails.KubernetesUserDetails.Username), ARN: v.ARN, AccessKey: who.AccessKeyDetails.AccessKeyID,
		Region: v.Region, Account: v.AccountID, Resources: compactText(v.Resource), Severity: v.Severity.String(), Title: v.Title, Detail: v.Description, Text: compactText(raw),
	}
	if e.Time.IsZero() {
		e.Time = v.CreatedAt.Time
	}
	if e.End.IsZero() {
		e.End = v.UpdatedAt.Time
	}
	a := &v.Service.Action
	for _, r := range append([]remote{a.NetworkConnectionAction, a.AWSAPICallAction, a.KubernetesAPICallAction, a.RDSLoginAttemptAction}, a.PortProbeAction.PortProbeDetails...) {
		if ip := firstOf(r.RemoteIPDetails.IPAddressV4, r.RemoteIPDetails.IPAddressV6); ip != "" {
			e.SourceIP = ip
			if r.RemotePortDetails.Port > 0 {
				e.Port = strconv.Itoa(r.RemotePortDetails.Port)
			}
			break
		}
	}
	return e, nil
}
