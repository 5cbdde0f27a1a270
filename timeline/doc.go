// Package timeline turns what was found in evidence into one ordered stream of
// records and writes it in the formats that analysts import.
//
// A Record is filled field by field, reused for the next, and added to a
// Writer with all of its times: one line a time comes out. What many records
// share is a Common, kept and rendered once.
//
//	w, err := timeline.NewWriter(timeline.Options{}, timeline.Output{W: file, Format: timeline.JSONL})
//	...
//	defer w.Close()
//	var r timeline.Record
//	r.Reset(timeline.Unknown, nil)
//	r.String(timeline.FieldParser, "lagan/ext4")
//	node := r.Common()
//	for each inode {
//		r.Reset(timeline.FSStat, node)
//		r.Path("NODE:", path)
//		r.File(timeline.RegularFile, info.Perm)
//		r.Uint(timeline.FieldInode, info.Inode)
//		...
//		r.Template(timeline.FileMessage)
//		r.Time(timeline.Modified, info.Mtime)
//		r.Time(timeline.Created, info.Btime)
//		w.Add(&r)
//	}
//	err = w.Finish(ctx)
//
// # Rules that a record can't break
//
// Every line has message, datetime, timestamp, timestamp_desc and data_type,
// because one line without them ends a whole import. A key has one type, that
// of its constant (fields.go). datetime and timestamp are the same instant,
// nanoseconds rounded half up to microseconds; timestamp_nanoseconds has all of
// it. A time that four digits of a year can't say is moved to the nearest that
// they can, and time_assumption tells what it was. Text is UTF-8 of at most
// 32,000 bytes, bad bytes written as \xNN; filename_raw has a bad filename's
// bytes. What is absent is left out. A record without any time is a line
// "Not a time" at 1970-01-01, never lost.
//
// # Order
//
// Lines come by time to the nanosecond; at one time by display_name, offset,
// the rest of the record, and what happened: an order that depends neither on
// the order of adding nor on the number of goroutines. A bodyfile is the
// exception, as mactime sorts it: its lines are in the order of adding.
//
// # Memory
//
// A record is kept once, about 200 bytes for a file, with 16 bytes for each of
// its times, none of it looked at by the garbage collector. Past Options.Memory
// what is there is sorted and written to a temporary file, and the stretches
// are merged at the end.
//
// What records carry comes from hostile evidence: each encoder escapes what would
// break its format, so that no name or message makes a line or a field of its own.
package timeline
