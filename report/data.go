// Package report writes what was found on a node as one page of HTML, or the
// same as JSON. It reads no evidence: the analyzer fills Data.
//
// The page is whole in itself: style and script stand in it, it asks for nothing
// of any network, and its content security policy forbids that and any other script.
// What comes from evidence lies in it as JSON, in which no character can end the
// element that holds it, and the script shows it as text only.
package report

import (
	"lagan/findings"
	"lagan/internal/text"
)

// Data is what a report says.
type Data struct {
	Record   string            `json:"record"` // report
	Version  string            `json:"version"`
	Command  []string          `json:"command"` // how the report was made
	System   System            `json:"system"`
	Evidence []Disk            `json:"evidence"`
	Volumes  []Volume          `json:"volumes"`
	Runtimes []Runtime         `json:"runtimes"`
	Counts   Counts            `json:"counts"`
	Findings []findings.Record `json:"findings"`
	Pods     []Pod             `json:"pods"`
	// Containers are all of them, in the order of the containers command.
	Containers []Container `json:"containers"`
	Images     []Image     `json:"images"`
	Timeline   Timeline    `json:"timeline"`
	Changes    []Changes   `json:"changes"` // of the containers with findings
	Logins     []Login     `json:"logins"`
	Commands   []Command   `json:"commands"`
	Gaps       []Gap       `json:"gaps"`
	// Cut says what was left out for the page's size, in words.
	Cut []string `json:"cut,omitempty"`
}

// System is what the node says of itself.
type System struct {
	Hostname   string `json:"hostname,omitempty"`
	OS         string `json:"os,omitempty"`
	MachineID  string `json:"machine_id,omitempty"`
	Kubernetes string `json:"kubernetes,omitempty"`
	NodeName   string `json:"node_name,omitempty"` // as the cluster calls it
	Cluster    string `json:"cluster,omitempty"`
	Server     string `json:"server,omitempty"` // of the cluster's API
}

// Disk is one piece of evidence.
type Disk struct {
	Name   string `json:"name"`
	Format string `json:"format"`
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	SHA1   string `json:"sha1,omitempty"`
	MD5    string `json:"md5,omitempty"`
}

// Volume is one volume of a disk.
type Volume struct {
	Index     int    `json:"index"`
	Partition string `json:"partition,omitempty"`
	Start     int64  `json:"start"`
	Size      int64  `json:"size"`
	Content   string `json:"content,omitempty"`
	UUID      string `json:"uuid,omitempty"`
	MountedAt string `json:"mounted_at,omitempty"`
	Journal   string `json:"journal,omitempty"`
	Created   string `json:"created,omitempty"`
}

// Runtime is one data root.
type Runtime struct {
	Name       string `json:"name"`
	Path       string `json:"path"`
	Found      string `json:"found,omitempty"`
	Containers int    `json:"containers"`
	Sandboxes  int    `json:"sandboxes"`
	Images     int    `json:"images"`
}

// Counts are totals.
type Counts struct {
	Events     int64          `json:"events"`
	Containers int            `json:"containers"`
	Sandboxes  int            `json:"sandboxes"`
	Images     int            `json:"images"`
	Pods       int            `json:"pods"`
	Findings   map[string]int `json:"findings"` // by severity
}

// Pod is a pod with its containers, by their places in Data.Containers.
type Pod struct {
	Namespace  string   `json:"namespace,omitempty"`
	Name       string   `json:"name"`
	UID        string   `json:"uid,omitempty"`
	State      string   `json:"state,omitempty"`
	Found      []string `json:"found,omitempty"`
	Containers []int    `json:"containers"`
	Gone       []string `json:"gone,omitempty"` // names of containers that are known no longer
}

// Container is one container or sandbox.
type Container struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Kind       string `json:"kind"`
	Runtime    string `json:"runtime"`
	Namespace  string `json:"namespace,omitempty"`
	State      string `json:"state,omitempty"`
	ExitCode   *int   `json:"exit_code,omitempty"`
	Image      string `json:"image,omitempty"`
	Command    string `json:"command,omitempty"`
	Created    string `json:"created,omitempty"`
	Started    string `json:"started,omitempty"`
	Finished   string `json:"finished,omitempty"`
	Privileged bool   `json:"privileged,omitempty"`
	Added      int    `json:"added"`
	Modified   int    `json:"modified"`
	Deleted    int    `json:"deleted"`
	Findings   []int  `json:"findings,omitempty"` // places in Data.Findings
	Severity   string `json:"severity,omitempty"` // the highest of them
}

// Image is one image.
type Image struct {
	ID         string   `json:"id"`
	Names      []string `json:"names,omitempty"`
	Digest     string   `json:"digest,omitempty"`
	Runtime    string   `json:"runtime"`
	Created    string   `json:"created,omitempty"`
	Size       int64    `json:"size,omitempty"`
	Containers int      `json:"containers"`
}

// Timeline counts events by time, kind and whose they are.
type Timeline struct {
	Kinds  []string `json:"kinds"`
	Owners []Owner  `json:"owners"`
	// Cells are [start in seconds from 1970, length in seconds, kind, owner, count],
	// in this order.
	Cells [][5]int64 `json:"cells"`
	First string     `json:"first,omitempty"`
	Last  string     `json:"last,omitempty"`
}

// Owner is whose events are counted.
type Owner struct {
	Name      string `json:"name"`
	Container int    `json:"container"` // place in Data.Containers; -1: the node's, images', others'
}

// Changes are what one container changed.
type Changes struct {
	Container int      `json:"container"`
	Total     int      `json:"total"`
	Paths     []Change `json:"paths"` // in path order
}

// Change is one path that a container changed.
type Change struct {
	Path  string `json:"path"`
	Kind  string `json:"kind"`
	Type  string `json:"type,omitempty"`
	Mode  string `json:"mode,omitempty"`
	Size  int64  `json:"size,omitempty"`
	Mtime string `json:"mtime,omitempty"`
	Ctime string `json:"ctime,omitempty"`
}

// Login is a login, or many failed ones of one address.
type Login struct {
	Time   string   `json:"time"`
	Last   string   `json:"last,omitempty"` // of many
	Count  int      `json:"count"`
	Result string   `json:"result"`
	User   string   `json:"user,omitempty"`
	Users  []string `json:"users,omitempty"` // of many
	From   string   `json:"from,omitempty"`
	Method string   `json:"method,omitempty"`
	Place  string   `json:"place"` // the file
	Offset int64    `json:"offset"`
	Text   string   `json:"text,omitempty"`
}

// Command is a command that was typed or run by sudo, cron or a traced process.
type Command struct {
	Time    string `json:"time,omitempty"`
	Assumed string `json:"time_assumption,omitempty"`
	Via     string `json:"via"`
	User    string `json:"user,omitempty"`
	Command string `json:"command"`
	Owner   string `json:"owner"`
	Place   string `json:"place"`
	Offset  int64  `json:"offset"`
	Finding bool   `json:"finding,omitempty"` // it is evidence of one
}

// Gap is what could not be read.
type Gap struct {
	Object  string `json:"object,omitempty"`
	Message string `json:"message"`
}

// Text returns text from evidence as valid UTF-8, each bad byte written as \xNN.
func Text(s string) string {
	s, _ = text.ForJSON(s)
	return s
}
