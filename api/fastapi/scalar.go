package fastapi

import (
	"math"
	"strconv"
	"strings"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// Int reads numbers without a fraction, texts of them, and true and false
// (recorded settings_field_types). An integer has no bound but
// [pyjson.MaxDigits], and is never changed; a number with a fraction or an
// exponent has that of 64 bits.
func Int(v pyjson.Value) (pyjson.Value, *Fault) {
	switch v.Kind() {
	case pyjson.Int:
		return v, nil
	case pyjson.Bool:
		return pyjson.IntOf(int64(v.Float64())), nil
	case pyjson.Float:
		n, f := whole(v.Float64())
		return pyjson.IntOf(n), f
	case pyjson.String:
		digits, f := parseInt(v.Text())
		return pyjson.IntOfDigits(digits), f
	}
	return v, IntType
}

// Bool reads true and false, the texts of them, and 0 and 1.
func Bool(v pyjson.Value) (pyjson.Value, *Fault) {
	switch v.Kind() {
	case pyjson.Bool:
		return v, nil
	case pyjson.String:
		return parseBool(v.Text())
	case pyjson.Int, pyjson.Float:
		n, beyond := whole64(v)
		switch {
		case beyond:
		case n == 0 || n == 1:
			return pyjson.BoolOf(n == 1), nil
		default:
			return v, BoolParsing
		}
	}
	return v, BoolType
}

// Float reads finite numbers, texts of them, and true and false.
func Float(v pyjson.Value) (pyjson.Value, *Fault) {
	read, f := FloatOrNull(v)
	if f == nil && read.IsNull() {
		f = NotFinite
	}
	return read, f
}

// FloatOrNull is [Float] of what may be null. JSON has no NaN and no infinity:
// they become null, as what stores them answers (recorded
// settings_nan_budget).
func FloatOrNull(v pyjson.Value) (pyjson.Value, *Fault) {
	number := 0.0
	var f *Fault
	switch v.Kind() {
	case pyjson.Int: // Python has no double for one beyond the largest
		if number = v.Float64(); !finite(number) {
			f = FloatType
		}
	case pyjson.Bool, pyjson.Float:
		number = v.Float64()
	case pyjson.String:
		number, f = parseFloat(v.Text())
	default:
		f = FloatType
	}
	if f != nil || !finite(number) {
		return pyjson.Value{}, f
	}
	return pyjson.FloatOf(number), nil
}

// String reads texts of characters.
func String(v pyjson.Value) (pyjson.Value, *Fault) {
	switch {
	case v.Kind() != pyjson.String:
		return v, StringType
	case v.Unservable() != nil:
		return v, StringUnicode
	}
	return v, nil
}

// parseInt reads a text as pydantic's lax integer: white space around it, a
// plus sign, leading zeros, single underscores between digits and a fraction
// of zeros are allowed (recorded search_coerce_end_id).
func parseInt(s string) (digits string, f *Fault) {
	n, ok := decimal(s)
	if n > pyjson.MaxDigits {
		return "", IntSize
	}
	if !ok {
		if s, ok = cleanInt(s); ok {
			n, ok = decimal(s)
		}
		if !ok || n > pyjson.MaxDigits {
			return "", IntParsing
		}
	}
	return s, nil
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

// whole64 is the integer that a number stands for, unless 64 bits cannot hold it.
func whole64(v pyjson.Value) (n int64, beyond bool) {
	if v.Kind() == pyjson.Int {
		n, err := strconv.ParseInt(v.Text(), 10, 64)
		return n, err != nil
	}
	n, f := whole(v.Float64())
	return n, f != nil
}

// whole is the integer of a number with a fraction or an exponent.
func whole(f float64) (int64, *Fault) {
	switch {
	case !finite(f):
		return 0, NotFinite
	case f != math.Trunc(f):
		return 0, IntFraction
	case f <= math.MinInt64 || f >= math.MaxInt64:
		return 0, IntSize
	}
	return int64(f), nil
}

// parseBool reads a text as pydantic's lax boolean: any case, no white space
// (recorded search_coerce_reverse).
func parseBool(s string) (pyjson.Value, *Fault) {
	switch strings.ToLower(s) {
	case "true", "t", "yes", "y", "on", "1":
		return pyjson.BoolOf(true), nil
	case "false", "f", "no", "n", "off", "0":
		return pyjson.BoolOf(false), nil
	}
	return pyjson.Value{}, BoolParsing
}

// parseFloat reads a text as pydantic's lax number: decimal, `inf`,
// `infinity` or `nan` in any case with any sign, white space around it, or
// single underscores between digits (recorded settings_field_types).
func parseFloat(s string) (float64, *Fault) {
	f, ok := plainFloat(strings.TrimSpace(s))
	if !ok {
		if s, ok = stripUnderscores(s); ok {
			f, ok = plainFloat(s)
		}
	}
	if !ok {
		return 0, FloatParsing
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
