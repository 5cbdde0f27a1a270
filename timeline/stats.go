package timeline

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Stats counts events as they are added, in memory that depends on how many
// containers, kinds and days there are and not on how many events.
type Stats struct {
	events     int64
	timeless   int64
	first      stamp
	last       stamp
	kinds      [maxDataTypes]int64
	days       map[int64]int64 // since 1970
	containers map[string]int64
	names      map[*Common]string
}

// Count is how many events there are of something.
type Count struct {
	Name   string
	Events int64
}

// maxContainers bounds the containers that are counted apart.
const maxContainers = 100_000

// otherContainers counts what is beyond.
const otherContainers = "(others)"

func newStats() *Stats {
	return &Stats{days: make(map[int64]int64), containers: make(map[string]int64), names: make(map[*Common]string)}
}

// add counts the times of a record.
func (s *Stats) add(r *Record) {
	n := int64(max(len(r.stamps), 1))
	s.events += n
	s.kinds[r.kind.known()] += n
	if name := s.container(r); name != "" {
		if _, known := s.containers[name]; !known && len(s.containers) >= maxContainers {
			name = otherContainers
		}
		s.containers[name] += n
	}
	if len(r.stamps) == 0 {
		s.timeless++
	}
	for _, t := range r.stamps {
		if t.desc == NotATime {
			s.timeless++
			continue
		}
		if len(s.days) == 0 || t.before(s.first) {
			s.first = t
		}
		if len(s.days) == 0 || s.last.before(t) {
			s.last = t
		}
		s.days[floorDiv(t.sec, 24*60*60)]++
	}
}

func (s stamp) before(t stamp) bool {
	return s.sec < t.sec || s.sec == t.sec && s.nsec < t.nsec
}

// container names the container that a record is of, "" where it is of none.
func (s *Stats) container(r *Record) string {
	if r.common == nil {
		return ""
	}
	name, known := s.names[r.common]
	if !known {
		name = containerName(r.common)
		if len(s.names) < maxShared {
			s.names[r.common] = name
		}
	}
	return name
}

// containerName is NAMESPACE/POD/CONTAINER, the container's name, or the start of its id.
func containerName(c *Common) string {
	get := func(f StringField) string {
		if v, ok := c.field(uint8(f)); ok {
			return string(v.appendText(nil))
		}
		return ""
	}
	id := get(FieldContainerID)
	name := cmp.Or(get(FieldKubernetesContainerName), get(FieldContainerName), id[:min(len(id), 12)])
	if pod := get(FieldKubernetesPodName); pod != "" && name != "" {
		return strings.TrimPrefix(get(FieldKubernetesNamespace)+"/"+pod+"/"+name, "/")
	}
	if id == "" && get(FieldContainerName) == "" {
		return ""
	}
	return name
}

// Events returns how many events were counted, and how many of them have no time.
func (s *Stats) Events() (all, timeless int64) { return s.events, s.timeless }

// Span returns the first and the last time, zero where there is none.
func (s *Stats) Span() (first, last time.Time) {
	if len(s.days) == 0 {
		return
	}
	return time.Unix(s.first.sec, int64(s.first.nsec)).UTC(), time.Unix(s.last.sec, int64(s.last.nsec)).UTC()
}

// Kinds returns the counts by data_type, the largest first.
func (s *Stats) Kinds() []Count {
	var out []Count
	for k, n := range s.kinds {
		if n > 0 {
			out = append(out, Count{DataType(k).String(), n})
		}
	}
	return largest(out)
}

// Containers returns the counts by container, the largest first.
func (s *Stats) Containers() []Count {
	var out []Count
	for name, n := range s.containers {
		out = append(out, Count{name, n})
	}
	return largest(out)
}

func largest(c []Count) []Count {
	slices.SortFunc(c, func(a, b Count) int { return cmp.Or(cmp.Compare(b.Events, a.Events), strings.Compare(a.Name, b.Name)) })
	return c
}

// Day is a day with what happened on it.
type Day struct {
	Date   time.Time
	Events int64
}

// Days returns the days on which something happened, in order.
func (s *Stats) Days() []Day {
	out := make([]Day, 0, len(s.days))
	for d, n := range s.days {
		out = append(out, Day{time.Unix(d*24*60*60, 0).UTC(), n})
	}
	slices.SortFunc(out, func(a, b Day) int { return a.Date.Compare(b.Date) })
	return out
}
