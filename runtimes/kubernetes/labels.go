// Package kubernetes names the labels and annotations by which the kubelet and
// the container runtimes mark what belongs to a pod, and reads what the node's
// own files tell of pods: the kubelet's folders, the pods' logs, static
// manifests, and what CNI noted of addresses. Input is hostile: documents have
// size limits, folders a number of entries.
package kubernetes

// Labels that the kubelet puts on every container and sandbox:
// kubernetes/kubernetes pkg/kubelet/types/labels.go (staging/src/k8s.io/kubelet/pkg/types).
const (
	LabelPodName       = "io.kubernetes.pod.name"
	LabelPodNamespace  = "io.kubernetes.pod.namespace"
	LabelPodUID        = "io.kubernetes.pod.uid"
	LabelContainerName = "io.kubernetes.container.name"
)

// Annotations that the kubelet puts on containers: pkg/kubelet/kuberuntime/labels.go.
const (
	AnnotationRestartCount    = "io.kubernetes.container.restartCount"
	AnnotationHash            = "io.kubernetes.container.hash"
	AnnotationTerminationPath = "io.kubernetes.container.terminationMessagePath"
	AnnotationConfigSource    = "kubernetes.io/config.source" // of a pod: file (a static pod), http, api
	AnnotationConfigSeen      = "kubernetes.io/config.seen"
	AnnotationConfigMirror    = "kubernetes.io/config.mirror"
)

// Labels of dockershim (Kubernetes up to 1.23) and cri-dockerd on Docker's
// containers: pkg/kubelet/dockershim/docker_service.go.
const (
	LabelDockerType      = "io.kubernetes.docker.type" // "container" or "podsandbox"
	LabelDockerSandboxID = "io.kubernetes.sandbox.id"
	LabelDockerLogPath   = "io.kubernetes.container.logpath"

	DockerTypeContainer = "container"
	DockerTypeSandbox   = "podsandbox"
	// PodInfraContainer is the container name of a pod's sandbox under Docker.
	PodInfraContainer = "POD"
)

// Label of containerd's CRI plugin: internal/cri/labels/labels.go.
const (
	LabelCRIKind = "io.cri-containerd.kind" // "container" or "sandbox"

	CRIKindContainer = "container"
	CRIKindSandbox   = "sandbox"
)

// Annotations that containerd's CRI plugin puts into the OCI specification:
// internal/cri/annotations/annotations.go.
const (
	AnnotationCRIType             = "io.kubernetes.cri.container-type" // "container" or "sandbox"
	AnnotationCRISandboxID        = "io.kubernetes.cri.sandbox-id"
	AnnotationCRISandboxName      = "io.kubernetes.cri.sandbox-name"
	AnnotationCRISandboxNamespace = "io.kubernetes.cri.sandbox-namespace"
	AnnotationCRISandboxUID       = "io.kubernetes.cri.sandbox-uid"
	AnnotationCRIContainerName    = "io.kubernetes.cri.container-name"
	AnnotationCRIImageName        = "io.kubernetes.cri.image-name"
)

// Annotations that CRI-O puts into the OCI specification: internal/annotations/annotations.go.
const (
	AnnotationCRIOType      = "io.kubernetes.cri-o.ContainerType" // "container" or "sandbox"
	AnnotationCRIOSandboxID = "io.kubernetes.cri-o.SandboxID"
	AnnotationCRIOLabels    = "io.kubernetes.cri-o.Labels"      // JSON text
	AnnotationCRIOAnnots    = "io.kubernetes.cri-o.Annotations" // JSON text
	AnnotationCRIOMetadata  = "io.kubernetes.cri-o.Metadata"    // JSON text
	AnnotationCRIOImageName = "io.kubernetes.cri-o.ImageName"
	AnnotationCRIOImage     = "io.kubernetes.cri-o.Image"
	AnnotationCRIOCreated   = "io.kubernetes.cri-o.Created"
	AnnotationCRIOLogPath   = "io.kubernetes.cri-o.LogPath"
	AnnotationCRIOName      = "io.kubernetes.cri-o.Name"
	AnnotationCRIOIPPrefix  = "io.kubernetes.cri-o.IP."
	AnnotationCRIOPorts     = "io.kubernetes.cri-o.PortMappings" // JSON text
	AnnotationCRIOPriv      = "io.kubernetes.cri-o.PrivilegedRuntime"
)
