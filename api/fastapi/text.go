package fastapi

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// UUID reads a text of a UUID: with dashes or without, in braces, or after
// urn:uuid:. It is read as 36 lower-case characters.
func UUID(v pyjson.Value) (pyjson.Value, *Fault) {
	if v.Kind() != pyjson.String {
		return v, &Fault{Type: "uuid_type", Msg: "UUID input should be a string, bytes or UUID object"}
	}
	text, problem := parseUUID(v.Text())
	if problem != "" {
		return v, &Fault{"uuid_parsing", "Input should be a valid UUID, " + problem, ctx("error", pyjson.StringOf(problem))}
	}
	return pyjson.StringOf(text), nil
}

// maxUUID is the length of the longest form.
const maxUUID = len("urn:uuid:00000000-0000-0000-0000-000000000000")

// groups are how many digits a UUID has between its dashes.
var groups = [5]int{8, 4, 4, 4, 12}

// parseUUID reads a UUID, or says what is wrong with it in the words of the
// library that pydantic asks (recorded get_bad_ids).
func parseUUID(s string) (read, problem string) {
	inner, prefixed := strings.CutPrefix(s, "urn:uuid:")
	if !prefixed && len(s) > 1 && s[0] == '{' && s[len(s)-1] == '}' {
		inner = s[1 : len(s)-1]
	}
	if len(s) > maxUUID {
		return "", fmt.Sprintf("invalid length: found %d", utf8.RuneCountInString(s))
	}
	for i, c := range inner {
		if !strings.ContainsRune("0123456789abcdefABCDEF-", c) {
			return "", fmt.Sprintf("invalid character: found `%c` at %d", c, i+len(s)-len(strings.TrimPrefix(s, "urn:uuid:")))
		}
	}
	parts := strings.Split(inner, "-")
	switch {
	case len(parts) == 1 && !prefixed && len(inner) != 32:
		return "", fmt.Sprintf("invalid length: found %d", utf8.RuneCountInString(inner))
	case len(parts) == 1 && len(inner) == 32:
		inner = strings.ToLower(inner)
		return inner[:8] + "-" + inner[8:12] + "-" + inner[12:16] + "-" + inner[16:20] + "-" + inner[20:], ""
	case len(parts) != len(groups):
		return "", fmt.Sprintf("invalid group count: expected 5, found %d", len(parts))
	}
	for i, part := range parts {
		if len(part) != groups[i] {
			return "", fmt.Sprintf("invalid group length in group %d: expected %d, found %d", i, groups[i], len(part))
		}
	}
	return strings.ToLower(inner), ""
}

// timeLayouts are the forms of a time that are read.
var timeLayouts = []string{
	"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04",
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02",
}

// unknownOffset ends a time of RFC 3339 of which nobody has said the zone.
const unknownOffset = "-00:00"

// DateTime reads a text of a date, with or without a time and a zone, as RFC
// 3339 has it: one without a zone ends with -00:00. [ParseTime] reads it again.
func DateTime(v pyjson.Value) (pyjson.Value, *Fault) {
	if v.Kind() != pyjson.String {
		return v, &Fault{Type: "datetime_type", Msg: "Input should be a valid datetime"}
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, v.Text()); err == nil {
			const local = "2006-01-02T15:04:05.999999999"
			if strings.HasSuffix(layout, "Z07:00") {
				return pyjson.StringOf(t.Format(local + "Z07:00")), nil
			}
			return pyjson.StringOf(t.Format(local) + unknownOffset), nil
		}
	}
	problem := "input is too short"
	if len(v.Text()) >= len("2006-01-02") {
		problem = "invalid character in year"
	}
	return v, &Fault{"datetime_from_date_parsing", "Input should be a valid datetime or date, " + problem, ctx("error", pyjson.StringOf(problem))}
}

// ParseTime reads what DateTime has read; a time without a zone is of this one.
func ParseTime(text string, zone *time.Location) (time.Time, error) {
	local, unknown := strings.CutSuffix(text, unknownOffset)
	if unknown {
		return time.ParseInLocation("2006-01-02T15:04:05.999999999", local, zone)
	}
	return time.Parse(time.RFC3339Nano, text)
}
