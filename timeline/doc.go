// Package timeline turns what was found in evidence into one ordered stream of
// records and writes it in the formats that analysts import.
package timeline
