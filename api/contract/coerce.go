package contract

import (
	"math"
	"strconv"
	"strings"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A fault says what is wrong with one value, in pydantic's words. Its place
// and the value itself are added where they are known.
type fault struct {
	kind string
	msg  string
	ctx  pyjson.Value // an object; null for none
}

// ctx is the context of a fault: one member.
func ctx(key string, value pyjson.Value) pyjson.Value {
	return pyjson.ObjectOf(pyjson.Member{Key: key, Value: value})
}

// valueError is the fault that a validator of a model raises.
func valueError(text string) *fault {
	return &fault{"value_error", "Value error, " + text, ctx("error", pyjson.ObjectOf())}
}

var (
	intType      = &fault{kind: "int_type", msg: "Input should be a valid integer"}
	intParsing   = &fault{kind: "int_parsing", msg: "Input should be a valid integer, unable to parse string as an integer"}
	intSize      = &fault{kind: "int_parsing_size", msg: "Unable to parse input string as an integer, exceeded maximum size"}
	intFraction  = &fault{kind: "int_from_float", msg: "Input should be a valid integer, got a number with a fractional part"}
	notFinite    = &fault{kind: "finite_number", msg: "Input should be a finite number"}
	boolType     = &fault{kind: "bool_type", msg: "Input should be a valid boolean"}
	boolParsing  = &fault{kind: "bool_parsing", msg: "Input should be a valid boolean, unable to interpret input"}
	floatType    = &fault{kind: "float_type", msg: "Input should be a valid number"}
	floatParsing = &fault{kind: "float_parsing", msg: "Input should be a valid number, unable to parse string as a number"}
)

// maxDigits is how many characters an integer in a text may have.
const maxDigits = 4300

// parseInt reads a text as pydantic's lax integer: white space around it, a
// plus sign, leading zeros, single underscores between digits and a fraction
// of zeros are allowed (recorded search_coerce_end_id).
func parseInt(s string) (int64, *fault) {
	n, ok := decimal(s)
	if n > maxDigits {
		return 0, intSize
	}
	if !ok {
		if s, ok = cleanInt(s); ok {
			n, ok = decimal(s)
		}
		if !ok || n > maxDigits {
			return 0, intParsing
		}
	}
	return clamp(s), nil
}

// decimal reports how much of s is a sign and digits, and whether all of it is
// an integer as JSON writes it.
func decimal(s string) (length int, ok bool) {
	sign := len(s) - len(strings.TrimPrefix(s, "-"))
	n := sign
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n, n == len(s) && (n == sign+1 || n > sign && s[sign] != '0')
}

// clamp is the number of a decimal text, or the nearest that 64 bits hold.
func clamp(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64) // out of range is the nearest, too
	return n
}

// cleanInt takes away what a lax integer may have beyond a JSON one.
func cleanInt(s string) (string, bool) {
	s = strings.TrimSpace(s)
	s, plus := strings.CutPrefix(s, "+")
	s, minus := strings.CutPrefix(s, "-")
	if plus && minus || s == "" || s[0] < '0' || s[0] > '9' {
		return "", false
	}
	s = stripZeros(s)
	if whole, fraction, ok := strings.Cut(s, "."); ok && fraction != "" && strings.Trim(fraction, "0") == "" {
		s = whole
	}
	if stripped, ok := stripUnderscores(s); ok {
		s = stripped
	}
	if minus {
		s = "-" + s
	}
	return s, true
}

// stripZeros takes away leading zeros, and underscores among them, but for
// the zero of a whole part (`000` is `0`, `00.0` is `0.0`, `0_5` is `5`). A
// minus after them is pydantic's own slip.
func stripZeros(s string) string {
	rest := strings.TrimLeft(s, "0_")
	if s[0] == '0' && (rest == "" || rest[0] != '-' && (rest[0] < '1' || rest[0] > '9')) {
		return s[len(s)-len(rest)-1:]
	}
	return rest
}

// stripUnderscores takes away the underscores of a number, none of which may
// be doubled or at an end.
func stripUnderscores(s string) (string, bool) {
	if !strings.Contains(s, "_") || s[0] == '_' || s[len(s)-1] == '_' || strings.Contains(s, "__") {
		return s, false
	}
	return strings.ReplaceAll(s, "_", ""), true
}

// floatAsInt is the integer of a number with a fraction or an exponent.
func floatAsInt(f float64) (int64, *fault) {
	switch {
	case math.IsInf(f, 0) || math.IsNaN(f):
		return 0, notFinite
	case f != math.Trunc(f):
		return 0, intFraction
	case f <= math.MinInt64 || f >= math.MaxInt64:
		return 0, intSize
	}
	return int64(f), nil
}

// parseBool reads a text as pydantic's lax boolean: any case, no white space
// (recorded search_coerce_reverse).
func parseBool(s string) (bool, *fault) {
	switch strings.ToLower(s) {
	case "true", "t", "yes", "y", "on", "1":
		return true, nil
	case "false", "f", "no", "n", "off", "0":
		return false, nil
	}
	return false, boolParsing
}

// parseFloat reads a text as pydantic's lax number: decimal, `inf`,
// `infinity` or `nan` in any case with any sign, white space around it, or
// single underscores between digits (recorded settings_field_types).
func parseFloat(s string) (float64, *fault) {
	f, ok := plainFloat(strings.TrimSpace(s))
	if !ok {
		if s, ok = stripUnderscores(s); ok {
			f, ok = plainFloat(s)
		}
	}
	if !ok {
		return 0, floatParsing
	}
	return f, nil
}

// plainFloat is ParseFloat without Go's hexadecimal numbers and underscores,
// with signed nan.
func plainFloat(s string) (float64, bool) {
	if strings.ContainsAny(s, "xXpP_") {
		return 0, false
	}
	if unsigned := strings.TrimLeft(s, "+-"); len(s)-len(unsigned) <= 1 && strings.EqualFold(unsigned, "nan") {
		return math.NaN(), true
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil || math.IsInf(f, 0)
}

func finite(f float64) bool { return !math.IsInf(f, 0) && !math.IsNaN(f) }
