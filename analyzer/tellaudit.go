package analyzer

import (
	"regexp"
	"strconv"
	"strings"

	"lagan/artifacts/access"
	"lagan/artifacts/audit"
	alerts "lagan/artifacts/falco"
	"lagan/artifacts/kubeaudit"
	"lagan/evidence"
	"lagan/timeline"
)

// auditGlobs, kubeAuditGlobs and accessGlobs are where such logs lie; rotation
// adds to their names.
var (
	auditGlobs = []string{"var/log/audit/audit.log*"}
	// kubeadm's documentation, OpenShift, k3s, RKE2 and RKE. What the API
	// server's manifest names is looked for beside these.
	kubeAuditGlobs = []string{
		"var/log/kubernetes/audit/*.log*", "var/log/kubernetes/*audit*.log*", "var/log/kube-apiserver/*audit*.log*", "var/log/openshift-apiserver/*audit*.log*",
		"var/log/apiserver/*audit*.log*", "var/log/kube-audit/*", "var/log/kube-apiserver-audit.log*", "var/log/kubernetes-audit.log*",
		"var/lib/rancher/k3s/server/logs/*audit*.log*", "var/lib/rancher/rke2/server/logs/*audit*.log*",
	}
	// Distributions' packages, and the places of images that build their own.
	accessGlobs = []string{
		"var/log/nginx/*access*", "var/log/apache2/*access*", "var/log/httpd/*access*", "var/log/lighttpd/*access*", "var/log/tomcat*/*access*",
		"usr/local/apache2/logs/*access*", "usr/local/nginx/logs/*access*", "usr/local/openresty/nginx/logs/*access*", "usr/local/tomcat/logs/*access*",
		"opt/tomcat*/logs/*access*", "opt/bitnami/*/logs/*access*",
	}
)

// errorGlobs and falcoGlobs are like them.
var (
	errorGlobs = []string{
		"var/log/nginx/*error*", "var/log/apache2/*error*", "var/log/httpd/*error*", "usr/local/apache2/logs/*error*", "usr/local/nginx/logs/*error*",
		"usr/local/openresty/nginx/logs/*error*", "opt/bitnami/*/logs/*error*",
	}
	falcoGlobs = []string{"var/log/falco*.log*", "var/log/falco*.json*", "var/log/falco/*", "var/log/falco_events*", "etc/falco/*events*.log*", "etc/falco/*events*.json*"}
)

var (
	errorMessage     = timeline.NewTemplate("[{severity}] {message_body}")
	falcoMessage     = timeline.NewTemplate("{priority}: {rule}: {message_body}")
	auditMessage     = timeline.NewTemplate("[audit_type: {audit_type}, pid: {pid}] {message_body}")
	kubeAuditMessage = timeline.NewTemplate("User {username} performed {verb} on {resource} {object_name} in namespace {kubernetes_namespace} command: {command} from IP address {ip_address} response: {response_code}")
	accessMessage    = timeline.NewTemplate("http_request: {http_request} from: {ip_address} code: {http_response_code} referer: {http_request_referer} user_agent: {http_request_user_agent} server_name: {server_name} port: {port}")
)

// audits tells the logs of auditd, of Kubernetes' API server, and of web servers.
func (t *teller) audits() error {
	for _, s := range t.sites(false) {
		s.zone = zoneOf(s.tree, s.container != nil)
		for _, src := range auditSources(s) {
			if err := t.once(s, src); err != nil {
				return err
			}
		}
	}
	return nil
}

// auditSources are the logs of auditd, the API server, web servers and Falco.
func auditSources(s *site) []artifactSource {
	return []artifactSource{
		{globs: auditGlobs, tell: (*teller).auditLog},
		{globs: append(apiServerLogs(s), kubeAuditGlobs...), tell: (*teller).kubeAudit},
		{globs: accessGlobs, tell: (*teller).accessLog},
		{globs: errorGlobs, tell: (*teller).errorLog},
		{globs: falcoGlobs, tell: (*teller).falcoLog},
	}
}

// once tells each file that any of a source's patterns names.
func (t *teller) once(s *site, src artifactSource) error {
	told := make(map[string]bool)
	for _, pattern := range src.globs {
		err := t.matches(s, pattern, "", func(t *teller, a *artifact) error {
			if told[a.path] {
				return nil
			}
			told[a.path] = true
			return src.tell(t, a)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *teller) auditLog(a *artifact) error {
	common := t.artifactCommon(a, "audit")
	r, done := a.unpacked()
	defer done()
	return each(t, a, audit.Read(r), func(e *audit.Event) {
		t.logged(a, timeline.SELinuxLine, common, e.Offset, timeline.Modified, e.Time)
		t.r.String(timeline.FieldHostname, e.Node)
		t.r.String(timeline.FieldAuditType, e.Type())
		t.r.String(timeline.FieldEventIdentifier, strconv.FormatUint(e.Serial, 10))
		if pid := e.PID(); pid > 0 {
			t.r.Int(timeline.FieldPID, int64(pid))
		}
		t.r.String(timeline.FieldExecutable, e.Get("exe"))
		t.r.String(timeline.FieldSystemCall, e.SystemCall())
		t.r.String(timeline.FieldSuccess, e.Success())
		t.r.String(timeline.FieldExitStatus, e.Get("exit"))
		t.r.String(timeline.FieldCommand, e.Command())
		t.r.String(timeline.FieldWorkingDirectory, e.Get("cwd"))
		t.r.String(timeline.FieldUsername, e.User())
		ip, port := e.Address()
		t.r.String(timeline.FieldIPAddress, ip)
		t.r.String(timeline.FieldPort, port)
		t.r.String(timeline.FieldTerminal, firstOf(e.Get("terminal"), e.Get("tty")))
		if ses := e.Get("ses"); ses != "4294967295" { // AUDIT_SID_UNSET
			t.r.String(timeline.FieldSessionIdentifier, ses)
		}
		t.r.String(timeline.FieldRule, e.Get("key"))
		t.r.String(timeline.FieldAuthenticationResult, authenticationResult(e))
		text := e.Text()
		t.body(text)
		t.r.Template(auditMessage)
	})
}

// authenticationResult is in the words that records of syslog use.
func authenticationResult(e *audit.Event) string {
	switch e.Type() {
	case "USER_AUTH", "USER_LOGIN", "USER_ERR", "USER_ACCT":
	default:
		return ""
	}
	switch e.Success() {
	case "success", "yes":
		return "success"
	case "failed", "no":
		return "failure"
	}
	return ""
}

func (t *teller) kubeAudit(a *artifact) error {
	common := t.artifactCommon(a, "kubernetes_audit")
	r, done := a.unpacked()
	defer done()
	return each(t, a, kubeaudit.Read(r), func(e *kubeaudit.Event) { t.kubeEvent(a, common, e) })
}

// kubeEvent makes the record of one stage of a request to the API server.
func (t *teller) kubeEvent(a *artifact, common *timeline.Common, e *kubeaudit.Event) {
	t.r.Reset(timeline.KubernetesAudit, common)
	t.r.Path(a.prefix, a.path)
	t.r.Int(timeline.FieldOffset, e.Offset)
	switch {
	case !e.Received.IsZero():
		t.r.Time(timeline.Recorded, e.Received)
		if d := e.Staged.Sub(e.Received); !e.Staged.IsZero() && d >= 0 {
			t.r.String(timeline.FieldElapsedSeconds, strconv.FormatFloat(d.Seconds(), 'f', 6, 64))
		}
	default:
		t.r.Time(timeline.Recorded, e.Staged)
	}
	t.r.String(timeline.FieldEventIdentifier, e.ID)
	t.r.String(timeline.FieldAction, e.Stage)
	t.r.String(timeline.FieldVerb, e.Verb)
	t.r.String(timeline.FieldUsername, e.Username)
	t.r.String(timeline.FieldRequester, e.Impersonated)
	if len(e.SourceIPs) > 0 {
		t.r.String(timeline.FieldIPAddress, e.SourceIPs[0])
	}
	t.r.Strings(timeline.FieldIPAddresses, e.SourceIPs)
	t.r.String(timeline.FieldUserAgent, e.UserAgent)
	t.r.String(timeline.FieldResource, e.Resource)
	t.r.String(timeline.FieldObjectName, e.Name)
	t.r.String(timeline.FieldKubernetesNamespace, e.Namespace)
	if e.Resource == "pods" || strings.HasPrefix(e.Resource, "pods/") {
		t.r.String(timeline.FieldKubernetesPodName, e.Name)
	}
	t.r.String(timeline.FieldKubernetesContainerName, e.Container)
	t.r.String(timeline.FieldCommand, e.Command)
	t.r.String(timeline.FieldResponseCode, e.Code)
	t.r.String(timeline.FieldError, e.Reason)
	t.r.String(timeline.FieldStatus, e.Decision)
	t.r.String(timeline.FieldURL, e.URI)
	t.body(e.Text)
	t.r.Template(kubeAuditMessage)
}

// auditFlag is the API server's flag that names its audit log.
var auditFlag = regexp.MustCompile(`--audit-log-path[= ]+"?(/[\w./-]+)`)

// apiServerLogs are the logs that the API server's static pod names. They are
// mounted from the node's own path of the same name.
func apiServerLogs(s *site) []string {
	b, err := evidence.ReadFile(s.tree, s.tree.Root(), "etc/kubernetes/manifests/kube-apiserver.yaml", maxConfigFile)
	if err != nil {
		return nil
	}
	var globs []string
	for _, m := range auditFlag.FindAllSubmatch(b, maxAuditLogs) {
		// lumberjack puts the time of rotation before the ending: audit-2026-01-02T03-04-05.678.log.gz
		name := strings.Trim(string(m[1]), "/")
		if dot := strings.LastIndexByte(name, '.'); dot > strings.LastIndexByte(name, '/') {
			name = name[:dot]
		}
		globs = append(globs, name+"*")
	}
	return globs
}

// maxAuditLogs bounds the logs that one manifest names.
const maxAuditLogs = 8

func (t *teller) accessLog(a *artifact) error {
	common := t.artifactCommon(a, "access_log")
	r, done := a.unpacked()
	defer done()
	return each(t, a, access.Read(r), func(e *access.Entry) {
		t.logged(a, timeline.ApacheAccessLog, common, e.Offset, timeline.Recorded, e.Time)
		t.r.String(timeline.FieldIPAddress, e.IP)
		if e.IP == "" && e.Host != "-" {
			t.r.String(timeline.FieldRequester, e.Host)
		}
		t.r.String(timeline.FieldUsername, e.User)
		t.r.String(timeline.FieldHTTPRequest, e.Request)
		t.r.String(timeline.FieldHTTPRequestMethod, e.Method)
		t.r.String(timeline.FieldURL, e.URL)
		t.r.String(timeline.FieldHTTPResponseCode, e.Code)
		t.r.String(timeline.FieldHTTPResponseBytes, e.Bytes)
		t.r.String(timeline.FieldHTTPRequestReferer, e.Referer)
		t.r.String(timeline.FieldHTTPRequestUserAgent, e.Agent)
		t.r.String(timeline.FieldServerName, e.Server)
		t.r.String(timeline.FieldPort, e.Port)
		t.body(e.Text)
		t.r.Template(accessMessage)
	})
}

func (t *teller) errorLog(a *artifact) error {
	common := t.artifactCommon(a, "error_log")
	r, done := a.unpacked()
	defer done()
	return each(t, a, access.ReadErrors(r, a.zone.location), func(p *access.Problem) {
		t.logged(a, timeline.WebErrorLog, common, p.Offset, timeline.Recorded, p.Time)
		t.r.String(timeline.FieldTimeAssumption, a.zone.assume(false, true))
		t.r.String(timeline.FieldSeverity, p.Severity)
		if p.PID > 0 {
			t.r.Int(timeline.FieldPID, int64(p.PID))
		}
		t.r.String(timeline.FieldIPAddress, p.IP)
		t.r.String(timeline.FieldPort, p.Port)
		t.r.String(timeline.FieldServerName, p.Server)
		t.r.String(timeline.FieldHTTPRequest, p.Request)
		t.r.String(timeline.FieldHTTPRequestMethod, p.Method)
		t.r.String(timeline.FieldURL, p.URL)
		t.r.String(timeline.FieldHTTPRequestReferer, p.Referer)
		t.body(p.Text)
		t.r.Template(errorMessage)
	})
}

func (t *teller) falcoLog(a *artifact) error {
	r, done := a.unpacked()
	defer done()
	return each(t, a, alerts.Read(r), func(e *alerts.Alert) { t.falcoAlert(a.prefix, a.path, a.volume, e) })
}

// falcoAlert makes the record of an alert, with the fields of the container that
// it is about.
func (t *teller) falcoAlert(prefix, path string, volume int, e *alerts.Alert) {
	c := t.containerByID(e.ContainerID)
	t.r.Reset(timeline.FalcoAlert, t.eventCommon(c, "falco", volume))
	t.r.Path(prefix, path)
	t.r.Int(timeline.FieldOffset, e.Offset)
	t.r.Time(timeline.Recorded, e.Time)
	t.r.String(timeline.FieldRule, e.Rule)
	t.r.String(timeline.FieldPriority, e.Priority)
	t.r.String(timeline.FieldEventSource, e.Source)
	t.r.String(timeline.FieldHostname, e.Host)
	if c == nil {
		t.r.String(timeline.FieldContainerID, e.ContainerID)
		t.r.String(timeline.FieldContainerIdentifier, e.ContainerID)
		t.r.String(timeline.FieldContainerName, e.ContainerName)
		t.r.String(timeline.FieldImageName, e.Image)
		t.r.String(timeline.FieldKubernetesNamespace, e.Namespace)
		t.r.String(timeline.FieldKubernetesPodName, e.Pod)
	}
	t.r.String(timeline.FieldUsername, e.User)
	t.r.String(timeline.FieldCommand, e.Command)
	t.r.String(timeline.FieldExecutable, e.Process)
	t.r.String(timeline.FieldObjectName, e.File)
	t.r.String(timeline.FieldIPAddress, e.Connection)
	if e.PID > 0 {
		t.r.Int(timeline.FieldPID, e.PID)
	}
	t.r.Strings(timeline.FieldTag, e.Tags)
	t.body(e.Output)
	t.r.Template(falcoMessage)
}
