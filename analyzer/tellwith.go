package analyzer

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"lagan/artifacts/aws"
	"lagan/artifacts/kubeaudit"
	"lagan/artifacts/lines"
	"lagan/evidence"
	"lagan/timeline"
)

// Companion is a log that doesn't come from the node's disks: what the cloud
// or the cluster says of the node.
type Companion struct {
	Name string
	R    io.Reader // packed or not
}

var (
	trailMessage   = timeline.NewTemplate("User {username} performed {event_name} on {resources} using access key {access_key} from IP address {source_ip} error: {error}")
	findingMessage = timeline.NewTemplate("{finding_type} severity {finding_severity}: {description} from IP address {ip_address}")
	flowMessage    = timeline.NewTemplate("{action} {protocol} {ip_address} port {port} to {destination_ip_address} port {destination_port}")
)

// companions tells the logs that were given beside the evidence.
func (t *teller) companions() error {
	for _, w := range t.o.With {
		a := &artifact{site: &site{prefix: "WITH:"}, path: w.Name}
		var failed error
		t.n.guard(0, a.object(), func() error {
			if err := t.companion(a, w.R); t.ctx.Err() != nil || isSinkError(err) {
				failed = err
				return nil
			} else {
				return err
			}
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}

// sniffed is how much of a companion decides what it is.
const sniffed = 4 << 10

func (t *teller) companion(a *artifact, r io.Reader) error {
	unpacked, done := lines.Unpack(r)
	defer done()
	in := bufio.NewReaderSize(unpacked, 64<<10)
	head, _ := in.Peek(sniffed) // an error comes again when it is read
	if bytes.HasPrefix(head, []byte(`{"kind":"Event","apiVersion":"audit.k8s.io/`)) {
		common := companionCommon(a, "kubernetes_audit")
		return each(t, a, kubeaudit.Read(in), func(e *kubeaudit.Event) { t.kubeEvent(a, common, e) })
	}
	commons := map[aws.Kind]*timeline.Common{
		aws.CloudTrail: companionCommon(a, "cloudtrail"), aws.GuardDuty: companionCommon(a, "guardduty"),
		aws.Flow: companionCommon(a, "vpc_flow"), aws.Other: companionCommon(a, "kubernetes_audit"),
	}
	for e, err := range aws.Read(in) {
		if err == nil {
			err = t.cloudEvent(a, commons[e.Kind], &e)
		}
		if isSinkError(err) {
			return err
		}
		if err != nil {
			t.wrong(a, err)
		}
	}
	return nil
}

// companionCommon has what all records of a companion carry: not the node's name.
func companionCommon(a *artifact, parser string) *timeline.Common {
	var r timeline.Record
	r.Reset(timeline.Unknown, nil)
	r.String(timeline.FieldParser, "lagan/"+parser)
	r.String(timeline.FieldEvidence, a.path)
	return r.Common()
}

// cloudEvent tells one event, finding or flow.
func (t *teller) cloudEvent(a *artifact, common *timeline.Common, e *aws.Entry) error {
	switch e.Kind {
	case aws.Other:
		return t.cloudWatch(a, common, e)
	case aws.CloudTrail:
		t.trailEvent(common, e)
	case aws.GuardDuty:
		t.finding(common, e)
	case aws.Flow:
		t.flow(common, e)
	}
	t.r.Path(a.prefix, a.path)
	t.r.Int(timeline.FieldOffset, e.Offset)
	t.r.String(timeline.FieldSourceIP, e.SourceIP)
	if ip, err := netip.ParseAddr(e.SourceIP); err == nil {
		t.r.String(timeline.FieldIPAddress, ip.WithZone("").String())
	}
	t.r.String(timeline.FieldPort, e.Port)
	t.r.String(timeline.FieldUsername, e.User)
	t.r.String(timeline.FieldAccessKey, e.AccessKey)
	t.r.String(timeline.FieldRegion, e.Region)
	t.r.String(timeline.FieldAccountIdentifier, e.Account)
	t.r.String(timeline.FieldResources, e.Resources)
	t.r.String(timeline.FieldEventIdentifier, e.ID)
	t.r.String(timeline.FieldBody, e.Text)
	t.r.String(timeline.FieldMessageBody, e.Text)
	if err := t.tell(); err != nil {
		return sinkError{err}
	}
	return nil
}

func (t *teller) trailEvent(common *timeline.Common, e *aws.Entry) {
	t.r.Reset(timeline.CloudTrailEntry, common)
	t.r.Time(timeline.Recorded, e.Time)
	t.r.String(timeline.FieldEventName, e.Name)
	t.r.String(timeline.FieldEventSource, e.Source)
	t.r.String(timeline.FieldUserAgent, e.UserAgent)
	t.r.String(timeline.FieldError, e.Error)
	t.r.Template(trailMessage)
}

func (t *teller) finding(common *timeline.Common, e *aws.Entry) {
	t.r.Reset(timeline.GuardDutyFinding, common)
	t.r.Time(timeline.Started, e.Time)
	if !e.End.Equal(e.Time) {
		t.r.Time(timeline.Ended, e.End)
	}
	t.r.String(timeline.FieldFindingType, e.Name)
	t.r.String(timeline.FieldFindingSeverity, e.Severity)
	t.r.String(timeline.FieldDescription, strings.TrimSpace(e.Title+" "+e.Detail))
	t.r.String(timeline.FieldEventSource, e.Source)
	t.r.Template(findingMessage)
}

func (t *teller) flow(common *timeline.Common, e *aws.Entry) {
	t.r.Reset(timeline.VPCFlow, common)
	t.r.Time(timeline.Started, e.Time)
	t.r.Time(timeline.Ended, e.End)
	t.r.String(timeline.FieldDestinationIPAddress, e.DestinationIP)
	t.r.String(timeline.FieldDestinationPort, e.DestinationPort)
	t.r.String(timeline.FieldProtocol, e.Protocol)
	t.r.String(timeline.FieldAction, e.Action)
	t.r.Template(flowMessage)
}

// cloudWatch tells a line that EKS's control plane sent to CloudWatch.
func (t *teller) cloudWatch(a *artifact, common *timeline.Common, line *aws.Entry) error {
	if !strings.Contains(line.Text, `"audit.k8s.io/`) {
		return fmt.Errorf("line of CloudWatch before offset %#x is no audit event of Kubernetes: %w", line.Offset, evidence.ErrUnsupported)
	}
	for e, err := range kubeaudit.Read(strings.NewReader(line.Text)) {
		if err != nil {
			return err
		}
		e.Offset = line.Offset
		t.kubeEvent(a, common, &e)
		if err := t.tell(); err != nil {
			return sinkError{err}
		}
	}
	return nil
}
