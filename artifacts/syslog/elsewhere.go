package syslog

// Understand fills what Reporter and Text tell of an entry that was not read
// from a text log: its kind, and what sshd, sudo, cron and PAM say.
func Understand(e *Entry) { understand(e) }
