package containerd

import "lagan/internal/jsonscan"

// The members of the CRI plugin's documents that are read, by the object that they are of.
var (
	statusMembers          = []string{"Pid", "CreatedAt", "StartedAt", "FinishedAt", "ExitCode", "Reason", "Message"}
	metadataMember         = []string{"Metadata"}
	containerMembers       = []string{"ID", "Name", "SandboxID", "ImageRef", "LogPath", "Config"}
	containerConfigMembers = []string{"metadata", "image", "labels", "annotations", "linux"}
	attemptMembers         = []string{"name", "attempt"}
	imageMembers           = []string{"image"}
	contextMembers         = []string{"security_context"}
	privilegedMembers      = []string{"privileged"}
	sandboxMembers         = []string{"ID", "Name", "IP", "AdditionalIPs", "Config"}
	sandboxConfigMembers   = []string{"metadata", "hostname", "log_directory", "port_mappings", "labels", "annotations", "linux"}
	podMembers             = []string{"name", "uid", "namespace", "attempt"}
	portMembers            = []string{"protocol", "container_port", "host_port", "host_ip"}
)

// Reset implements oci.Scanned.
func (d *status) Reset() { *d = status{} }

// Scan implements oci.Scanned.
func (d *status) Scan(s *jsonscan.Scanner) {
	s.Members(statusMembers, func(name string) {
		switch name {
		case "Pid":
			s.Int(&d.Pid)
		case "CreatedAt":
			s.Int64(&d.CreatedAt)
		case "StartedAt":
			s.Int64(&d.StartedAt)
		case "FinishedAt":
			s.Int64(&d.FinishedAt)
		case "ExitCode":
			s.Int(&d.ExitCode)
		case "Reason":
			s.Text(&d.Reason)
		case "Message":
			s.Text(&d.Message)
		}
	})
}

// Reset implements oci.Scanned.
func (d *containerMetadata) Reset() { *d = containerMetadata{} }

// Scan implements oci.Scanned.
func (d *containerMetadata) Scan(s *jsonscan.Scanner) {
	m := &d.Metadata
	s.Members(metadataMember, func(string) {
		s.Members(containerMembers, func(name string) {
			switch name {
			case "ID":
				s.Text(&m.ID)
			case "Name":
				s.Text(&m.Name)
			case "SandboxID":
				s.Text(&m.SandboxID)
			case "ImageRef":
				s.Text(&m.ImageRef)
			case "LogPath":
				s.Text(&m.LogPath)
			case "Config":
				d.scanConfig(s)
			}
		})
	})
}

func (d *containerMetadata) scanConfig(s *jsonscan.Scanner) {
	c := &d.Metadata.Config
	s.Members(containerConfigMembers, func(name string) {
		switch name {
		case "metadata":
			s.Members(attemptMembers, func(name string) {
				switch name {
				case "name":
					s.Text(&c.Metadata.Name)
				case "attempt":
					scanAttempt(s, &c.Metadata.Attempt)
				}
			})
		case "image":
			s.Members(imageMembers, func(string) { s.Text(&c.Image.Image) })
		case "labels":
			s.TextMap(&c.Labels)
		case "annotations":
			s.TextMap(&c.Annotations)
		case "linux":
			c.Linux.scan(s)
		}
	})
}

func scanAttempt(s *jsonscan.Scanner, to **int) {
	if s.Null() {
		return
	}
	*to = new(int)
	s.Int(*to)
}

func (d *linuxConfig) scan(s *jsonscan.Scanner) {
	s.Members(contextMembers, func(string) {
		s.Members(privilegedMembers, func(string) { s.Bool(&d.SecurityContext.Privileged) })
	})
}

// Reset implements oci.Scanned.
func (d *sandboxMetadata) Reset() { *d = sandboxMetadata{} }

// Scan implements oci.Scanned.
func (d *sandboxMetadata) Scan(s *jsonscan.Scanner) {
	m := &d.Metadata
	s.Members(metadataMember, func(string) {
		s.Members(sandboxMembers, func(name string) {
			switch name {
			case "ID":
				s.Text(&m.ID)
			case "Name":
				s.Text(&m.Name)
			case "IP":
				s.Text(&m.IP)
			case "AdditionalIPs":
				s.Texts(&m.AdditionalIPs)
			case "Config":
				d.scanConfig(s)
			}
		})
	})
}

func (d *sandboxMetadata) scanConfig(s *jsonscan.Scanner) {
	c := &d.Metadata.Config
	s.Members(sandboxConfigMembers, func(name string) {
		switch name {
		case "metadata":
			s.Members(podMembers, func(name string) {
				switch name {
				case "name":
					s.Text(&c.Metadata.Name)
				case "uid":
					s.Text(&c.Metadata.UID)
				case "namespace":
					s.Text(&c.Metadata.Namespace)
				case "attempt":
					scanAttempt(s, &c.Metadata.Attempt)
				}
			})
		case "hostname":
			s.Text(&c.Hostname)
		case "log_directory":
			s.Text(&c.LogDirectory)
		case "port_mappings":
			jsonscan.List(s, &c.Ports, func(p *portMapping) { p.scan(s) })
		case "labels":
			s.TextMap(&c.Labels)
		case "annotations":
			s.TextMap(&c.Annotations)
		case "linux":
			c.Linux.scan(s)
		}
	})
}

func (p *portMapping) scan(s *jsonscan.Scanner) {
	s.Members(portMembers, func(name string) {
		switch name {
		case "protocol":
			s.Int(&p.Protocol)
		case "container_port":
			s.Int(&p.ContainerPort)
		case "host_port":
			s.Int(&p.HostPort)
		case "host_ip":
			s.Text(&p.HostIP)
		}
	})
}
