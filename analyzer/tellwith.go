package analyzer

import (
	"bufio"
	"bytes"
	"io"
	"net/netip"
	"strings"

	"lagan/artifacts/aws"
	"lagan/artifacts/kubeaudit"
	"lagan/artifacts/lines"
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
	t.body(e.Text)
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

var authenticatorMessage = timeline.NewTemplate("[{reporter}]: {message_body}")

// cloudWatch tells a line that EKS's control plane sent to CloudWatch: an audit
// event, or what the API server, its authenticator, the scheduler or a controller
// said.
func (t *teller) cloudWatch(a *artifact, common *timeline.Common, line *aws.Entry) error {
	if strings.Contains(line.Text, `"audit.k8s.io/`) {
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
	t.r.Reset(timeline.SyslogLine, common)
	t.r.String(timeline.FieldParser, "lagan/cloudwatch")
	t.r.Path(a.prefix, a.path)
	t.r.Int(timeline.FieldOffset, line.Offset)
	t.r.Time(timeline.Recorded, line.Time)
	reporter := controlPlane(line)
	t.r.String(timeline.FieldReporter, reporter)
	t.r.String(timeline.FieldEventSource, line.Source)
	if reporter == "authenticator" {
		t.r.String(timeline.FieldUsername, logfmt(line.Text, "username"))
		t.r.String(timeline.FieldRequester, logfmt(line.Text, "arn"))
		t.r.String(timeline.FieldAction, logfmt(line.Text, "msg"))
		t.r.String(timeline.FieldAccessKey, logfmt(line.Text, "accesskeyid"))
	}
	t.body(line.Text)
	t.r.Template(authenticatorMessage)
	return sink(t.tell())
}

// controlPlane is the part of the control plane that wrote a line: the name of
// its stream without the id at its end, else what the line looks like.
func controlPlane(line *aws.Entry) string {
	name := line.Source
	if dash := strings.LastIndexByte(name, '-'); dash > 0 && len(name)-dash > 16 {
		name = name[:dash]
	}
	if name == "" && strings.Contains(line.Text, "msg=") && strings.Contains(line.Text, "arn=") {
		return "authenticator"
	}
	return firstOf(name, "control-plane")
}

// logfmt finds KEY=VALUE or KEY="VALUE" in a line.
func logfmt(line, key string) string {
	at := strings.Index(" "+line, " "+key+"=")
	if at < 0 {
		return ""
	}
	value := line[at+len(key)+1:]
	if rest, ok := strings.CutPrefix(value, `"`); ok {
		value, _, _ = strings.Cut(rest, `"`)
		return value
	}
	value, _, _ = strings.Cut(value, " ")
	return value
}
