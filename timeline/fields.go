package timeline

// A field's Go type is the type of its values, so that no key can ever be
// written with two types: the first type that an index of Timesketch sees of a
// key wins, and a line with another one is lost. Keys are flat snake_case and
// named as plaso names them, wherever plaso has the thing.
type (
	// StringField is a key whose value is text.
	StringField uint8
	// IntField is a key whose value is a number. There are few on purpose:
	// inode and port are text, as in plaso.
	IntField uint8
	// BoolField is a key whose value is true or false.
	BoolField uint8
	// ListField is a key whose value is a list of texts.
	ListField uint8
)

// Text fields of any record.
const (
	FieldMessage StringField = iota + 1
	FieldDisplayName
	FieldFilename
	FieldFilenameRaw // base64, where filename's bytes are not UTF-8: set by the record itself
	FieldParser      // "lagan/<source>"
	FieldHostname
	FieldEvidence       // image name and volume
	FieldTimeAssumption // how a time without year or zone was completed
	FieldRecord         // "warning"
	FieldVolume
	FieldObject // what a warning is about
	FieldReason

	// Of a container and what belongs to it.
	FieldContainerID
	FieldContainerIdentifier // the same: plaso's name
	FieldContainerName
	FieldContainerRuntime
	FieldContainerKind
	FieldContainerState
	FieldContainerLabels      // JSON text
	FieldContainerMounts      // JSON text
	FieldContainerEnvironment // JSON text
	FieldContainerHostname
	FieldContainerdNamespace
	FieldImageName
	FieldImageDigest
	FieldImageIdentifier
	FieldKubernetesNamespace
	FieldKubernetesPodName
	FieldKubernetesPodUID
	FieldKubernetesContainerName
	FieldKubernetesNodeName
	FieldSnapshotter
	FieldSnapshotKey
	FieldSnapshotParent
	FieldSnapshotKind
	FieldLayerIdentifier
	FieldLayerDigest
	FieldLayerSource // "upper" or "lower"
	FieldBackingPath
	FieldAction
	FieldAuthor
	FieldComment
	FieldArchitecture
	FieldOperatingSystem
	FieldLogPath
	FieldDataRoot

	// Of a file.
	FieldFileEntryType
	FieldFileSystemType
	FieldInode
	FieldModeAsString
	FieldSymbolicLinkTarget
	FieldDeviceNumber
	FieldChangeKind
	FieldSHA256Hash // bare hex
	FieldMD5Hash

	// Of logs.
	FieldBody
	FieldMessageBody
	FieldLogSource
	FieldStream
	FieldFlags
	FieldReporter
	FieldSeverity
	FieldFacility
	FieldSystemdUnit
	FieldExecutable
	FieldCommand
	FieldCommandLine
	FieldBootIdentifier
	FieldUsername
	FieldIPAddress
	FieldPort
	FieldAuthenticationMethod
	FieldAuthenticationResult
	FieldFingerprint
	FieldTerminal
	FieldTerminalIdentifier
	FieldLoginType
	FieldStatus
	FieldExitStatus
	FieldAuditType
	FieldSystemCall
	FieldSuccess
	FieldVerb
	FieldResource
	FieldObjectName
	FieldResponseCode
	FieldUserAgent
	FieldHTTPRequest
	FieldHTTPRequestMethod
	FieldHTTPRequestReferer
	FieldHTTPRequestUserAgent
	FieldHTTPResponseCode
	FieldHTTPResponseBytes
	FieldServerName
	FieldURL
	FieldPackages
	FieldRequester
	FieldError
	FieldRule
	FieldPriority
	FieldEventName
	FieldEventSource
	FieldEventIdentifier
	FieldUserName // CloudTrail's, as plaso names it
	FieldSourceIP
	FieldAccessKey
	FieldRegion
	FieldAccountIdentifier
	FieldResources
	FieldFindingType
	FieldFindingSeverity
	FieldDescription
	FieldElapsedSeconds
	FieldSessionIdentifier
	FieldWorkingDirectory
	FieldProtocol
	FieldDestinationIPAddress
	FieldDestinationPort
	FieldTechnique

	// Of what is set up: cron, at, systemd, keys, sudoers, packages, volumes.
	FieldSchedule
	FieldKeyType
	FieldOptions
	FieldPackageName
	FieldPackageVersion
	FieldVolumeDriver
	FieldImages

	endOfStrings
)

// Number fields. timestamp is not among them: the writers compute it.
const (
	FieldFileSize IntField = iota + IntField(endOfStrings)
	FieldMode              // permission bits
	FieldOwnerIdentifier
	FieldGroupIdentifier
	FieldNumberOfLinks
	FieldPID
	FieldExitCode
	FieldOffset // in the source; also orders records of one source and time
	FieldLayerIndex
	FieldRestartCount

	endOfInts
)

// Boolean fields.
const (
	FieldIsAllocated BoolField = iota + BoolField(endOfInts)
	FieldPrivileged
	FieldFromJournal // exists only after the journal's replay
	FieldTruncated   // some text was cut: set by the record itself
	FieldOOMKilled

	endOfBools
)

// List fields.
const (
	FieldTag            ListField = iota + ListField(endOfBools) // labels of [A-Za-z0-9_]+
	FieldAttributeNames                                          // of extended attributes
	FieldIPAddresses

	endOfFields
)

// numFields is one more than the largest field id.
const numFields = int(endOfFields)

// fieldNames is the one table of keys.
var fieldNames = [numFields]string{
	FieldMessage:                 "message",
	FieldDisplayName:             "display_name",
	FieldFilename:                "filename",
	FieldFilenameRaw:             "filename_raw",
	FieldParser:                  "parser",
	FieldHostname:                "hostname",
	FieldEvidence:                "evidence",
	FieldTimeAssumption:          "time_assumption",
	FieldRecord:                  "record",
	FieldVolume:                  "volume",
	FieldObject:                  "object",
	FieldReason:                  "reason",
	FieldContainerID:             "container_id",
	FieldContainerIdentifier:     "container_identifier",
	FieldContainerName:           "container_name",
	FieldContainerRuntime:        "container_runtime",
	FieldContainerKind:           "container_kind",
	FieldContainerState:          "container_state",
	FieldContainerLabels:         "container_labels",
	FieldContainerMounts:         "container_mounts",
	FieldContainerEnvironment:    "container_environment",
	FieldContainerHostname:       "container_hostname",
	FieldContainerdNamespace:     "containerd_namespace",
	FieldImageName:               "image_name",
	FieldImageDigest:             "image_digest",
	FieldImageIdentifier:         "image_identifier",
	FieldKubernetesNamespace:     "kubernetes_namespace",
	FieldKubernetesPodName:       "kubernetes_pod_name",
	FieldKubernetesPodUID:        "kubernetes_pod_uid",
	FieldKubernetesContainerName: "kubernetes_container_name",
	FieldKubernetesNodeName:      "kubernetes_node_name",
	FieldSnapshotter:             "snapshotter",
	FieldSnapshotKey:             "snapshot_key",
	FieldSnapshotParent:          "snapshot_parent",
	FieldSnapshotKind:            "snapshot_kind",
	FieldLayerIdentifier:         "layer_identifier",
	FieldLayerDigest:             "layer_digest",
	FieldLayerSource:             "layer_source",
	FieldBackingPath:             "backing_path",
	FieldAction:                  "action",
	FieldAuthor:                  "author",
	FieldComment:                 "comment",
	FieldArchitecture:            "architecture",
	FieldOperatingSystem:         "operating_system",
	FieldLogPath:                 "log_path",
	FieldDataRoot:                "data_root",
	FieldFileEntryType:           "file_entry_type",
	FieldFileSystemType:          "file_system_type",
	FieldInode:                   "inode",
	FieldModeAsString:            "mode_as_string",
	FieldSymbolicLinkTarget:      "symbolic_link_target",
	FieldDeviceNumber:            "device_number",
	FieldChangeKind:              "change_kind",
	FieldSHA256Hash:              "sha256_hash",
	FieldMD5Hash:                 "md5_hash",
	FieldBody:                    "body",
	FieldMessageBody:             "message_body",
	FieldLogSource:               "log_source",
	FieldStream:                  "stream",
	FieldFlags:                   "flags",
	FieldReporter:                "reporter",
	FieldSeverity:                "severity",
	FieldFacility:                "facility",
	FieldSystemdUnit:             "systemd_unit",
	FieldExecutable:              "executable",
	FieldCommand:                 "command",
	FieldCommandLine:             "command_line",
	FieldBootIdentifier:          "boot_identifier",
	FieldUsername:                "username",
	FieldIPAddress:               "ip_address",
	FieldPort:                    "port",
	FieldAuthenticationMethod:    "authentication_method",
	FieldAuthenticationResult:    "authentication_result",
	FieldFingerprint:             "fingerprint",
	FieldTerminal:                "terminal",
	FieldTerminalIdentifier:      "terminal_identifier",
	FieldLoginType:               "login_type",
	FieldStatus:                  "status",
	FieldExitStatus:              "exit_status",
	FieldAuditType:               "audit_type",
	FieldSystemCall:              "system_call",
	FieldSuccess:                 "success",
	FieldVerb:                    "verb",
	FieldResource:                "resource",
	FieldObjectName:              "object_name",
	FieldResponseCode:            "response_code",
	FieldUserAgent:               "user_agent",
	FieldHTTPRequest:             "http_request",
	FieldHTTPRequestMethod:       "http_request_method",
	FieldHTTPRequestReferer:      "http_request_referer",
	FieldHTTPRequestUserAgent:    "http_request_user_agent",
	FieldHTTPResponseCode:        "http_response_code",
	FieldHTTPResponseBytes:       "http_response_bytes",
	FieldServerName:              "server_name",
	FieldURL:                     "url",
	FieldPackages:                "packages",
	FieldRequester:               "requester",
	FieldError:                   "error",
	FieldRule:                    "rule",
	FieldPriority:                "priority",
	FieldEventName:               "event_name",
	FieldEventSource:             "event_source",
	FieldEventIdentifier:         "event_identifier",
	FieldUserName:                "user_name",
	FieldSourceIP:                "source_ip",
	FieldAccessKey:               "access_key",
	FieldRegion:                  "region",
	FieldAccountIdentifier:       "account_identifier",
	FieldResources:               "resources",
	FieldFindingType:             "finding_type",
	FieldFindingSeverity:         "finding_severity",
	FieldDescription:             "description",
	FieldElapsedSeconds:          "elapsed_seconds",
	FieldSessionIdentifier:       "session_identifier",
	FieldWorkingDirectory:        "working_directory",
	FieldProtocol:                "protocol",
	FieldDestinationIPAddress:    "destination_ip_address",
	FieldDestinationPort:         "destination_port",
	FieldTechnique:               "technique",
	FieldSchedule:                "schedule",
	FieldKeyType:                 "key_type",
	FieldOptions:                 "options",
	FieldPackageName:             "package_name",
	FieldPackageVersion:          "package_version",
	FieldVolumeDriver:            "volume_driver",
	FieldImages:                  "images",

	FieldFileSize:        "file_size",
	FieldMode:            "mode",
	FieldOwnerIdentifier: "owner_identifier",
	FieldGroupIdentifier: "group_identifier",
	FieldNumberOfLinks:   "number_of_links",
	FieldPID:             "pid",
	FieldExitCode:        "exit_code",
	FieldOffset:          "offset",
	FieldLayerIndex:      "layer_index",
	FieldRestartCount:    "restart_count",

	FieldIsAllocated: "is_allocated",
	FieldPrivileged:  "privileged",
	FieldFromJournal: "from_journal",
	FieldTruncated:   "truncated",
	FieldOOMKilled:   "oom_killed",

	FieldTag:            "tag",
	FieldAttributeNames: "attribute_names",
	FieldIPAddresses:    "ip_addresses",
}

// fieldType is the type of a field's values.
type fieldType uint8

const (
	typeNone fieldType = iota
	typeString
	typeInt
	typeBool
	typeList
)

func typeOfField(id int) fieldType {
	switch {
	case id <= 0 || id >= numFields:
		return typeNone
	case id < int(endOfStrings):
		return typeString
	case id < int(endOfInts):
		return typeInt
	case id < int(endOfBools):
		return typeBool
	}
	return typeList
}

// fieldTypes is typeOfField for every byte, and fieldKeys what stands before a
// field's value in JSON: ,"key":
var (
	fieldTypes = func() (t [256]fieldType) {
		for id := range t {
			t[id] = typeOfField(id)
		}
		return t
	}()
	fieldKeys = func() (k [numFields]string) {
		for id := 1; id < numFields; id++ {
			k[id] = `,"` + fieldNames[id] + `":`
		}
		return k
	}()
)

// fieldByName finds a field's id, 0 where there is none of that name.
func fieldByName(name string) int {
	for id := 1; id < numFields; id++ {
		if fieldNames[id] == name {
			return id
		}
	}
	return 0
}

// String returns the field's key.
func (f StringField) String() string { return fieldNames[f] }

// String returns the field's key.
func (f IntField) String() string { return fieldNames[f] }

// String returns the field's key.
func (f BoolField) String() string { return fieldNames[f] }

// String returns the field's key.
func (f ListField) String() string { return fieldNames[f] }

// fieldSet is a set of field ids.
type fieldSet [4]uint64

func (s *fieldSet) has(id uint8) bool { return s[id>>6]&(1<<(id&63)) != 0 }
func (s *fieldSet) add(id uint8)      { s[id>>6] |= 1 << (id & 63) }

func (s *fieldSet) union(t *fieldSet) {
	for i := range s {
		s[i] |= t[i]
	}
}

func (s *fieldSet) intersects(t *fieldSet) bool {
	return s[0]&t[0]|s[1]&t[1]|s[2]&t[2]|s[3]&t[3] != 0
}
