package fastapi

import (
	"strconv"
	"strings"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A Fault says what is wrong with one value, in pydantic's words.
type Fault struct {
	Type, Msg string
	Ctx       pyjson.Value // an object; null for none
}

// At is the fault of a value at a place.
func (f *Fault) At(input pyjson.Value, loc ...any) Error {
	return Error{Type: f.Type, Loc: loc, Msg: f.Msg, Input: input, Ctx: f.Ctx}
}

// Refuse is the answer when there is this fault alone.
func (f *Fault) Refuse(input pyjson.Value, loc ...any) *Invalid {
	return &Invalid{[]Error{f.At(input, loc...)}}
}

// Faults that tell nothing of the value.
var (
	Missing        = &Fault{Type: "missing", Msg: "Field required"}
	ExtraForbidden = &Fault{Type: "extra_forbidden", Msg: "Extra inputs are not permitted"}
	ModelType      = &Fault{Type: "model_attributes_type", Msg: "Input should be a valid dictionary or object to extract fields from"}
	DictType       = &Fault{Type: "dict_type", Msg: "Input should be a valid dictionary"}
	ListType       = &Fault{Type: "list_type", Msg: "Input should be a valid list"}
	TupleType      = &Fault{Type: "tuple_type", Msg: "Input should be a valid tuple"}
	StringType     = &Fault{Type: "string_type", Msg: "Input should be a valid string"}
	StringUnicode  = &Fault{Type: "string_unicode", Msg: "Input should be a valid string, unable to parse raw data as a unicode string"}
	IntType        = &Fault{Type: "int_type", Msg: "Input should be a valid integer"}
	IntParsing     = &Fault{Type: "int_parsing", Msg: "Input should be a valid integer, unable to parse string as an integer"}
	IntSize        = &Fault{Type: "int_parsing_size", Msg: "Unable to parse input string as an integer, exceeded maximum size"}
	IntFraction    = &Fault{Type: "int_from_float", Msg: "Input should be a valid integer, got a number with a fractional part"}
	BoolType       = &Fault{Type: "bool_type", Msg: "Input should be a valid boolean"}
	BoolParsing    = &Fault{Type: "bool_parsing", Msg: "Input should be a valid boolean, unable to interpret input"}
	FloatType      = &Fault{Type: "float_type", Msg: "Input should be a valid number"}
	FloatParsing   = &Fault{Type: "float_parsing", Msg: "Input should be a valid number, unable to parse string as a number"}
	NotFinite      = &Fault{Type: "finite_number", Msg: "Input should be a finite number"}
)

// ctx is the context of a fault: one member.
func ctx(key string, value pyjson.Value) pyjson.Value {
	return pyjson.ObjectOf(pyjson.Member{Key: key, Value: value})
}

// ValueError is the fault that a validator of a model raises.
func ValueError(text string) *Fault {
	return &Fault{"value_error", "Value error, " + text, ctx("error", pyjson.ObjectOf())}
}

// RaisedValue is [ValueError] of a version that tells the error in the context.
func RaisedValue(text string) *Fault {
	return &Fault{"value_error", "Value error, " + text, ctx("error", pyjson.StringOf(text))}
}

// Bound is the fault of a number that does not keep to a bound, by the keyword
// of the schema that says it; nil for one that does.
func Bound(keyword string, limit, number pyjson.Value) *Fault {
	n, l := number.Float64(), limit.Float64()
	var kind, text, key string
	switch {
	case keyword == "minimum" && n < l:
		kind, text, key = "greater_than_equal", "greater than or equal to", "ge"
	case keyword == "exclusiveMinimum" && n <= l:
		kind, text, key = "greater_than", "greater than", "gt"
	case keyword == "maximum" && n > l:
		kind, text, key = "less_than_equal", "less than or equal to", "le"
	case keyword == "exclusiveMaximum" && n >= l:
		kind, text, key = "less_than", "less than", "lt"
	default:
		return nil
	}
	return &Fault{kind, "Input should be " + text + " " + string(limit.Append(nil)), ctx(key, limit)}
}

// TooFew is the fault of a list that should have at least so many items.
func TooFew(least, n int) *Fault { return items("too_short", "at least", "min_length", least, n) }

// TooMany is the fault of a list that should have at most so many items.
func TooMany(most, n int) *Fault { return items("too_long", "at most", "max_length", most, n) }

func items(kind, bound, key string, limit, n int) *Fault {
	unit := " items"
	if limit == 1 {
		unit = " item"
	}
	return &Fault{kind, "List should have " + bound + " " + strconv.Itoa(limit) + unit + " after validation, not " + strconv.Itoa(n),
		pyjson.ObjectOf(pyjson.Member{Key: "field_type", Value: pyjson.StringOf("List")}, pyjson.Member{Key: key, Value: pyjson.IntOf(int64(limit))}, pyjson.Member{Key: "actual_length", Value: pyjson.IntOf(int64(n))})}
}

// Enum is the fault of what is none of an enumeration's values.
func Enum(values ...string) *Fault { return expected("enum", values) }

// Literal is the fault of what is none of the values that a type names.
func Literal(values ...string) *Fault { return expected("literal_error", values) }

func expected(kind string, values []string) *Fault {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = pyjson.StringOf(v).Repr()
	}
	text := strings.Join(quoted, ", ")
	if n := len(quoted) - 1; n > 0 {
		text = strings.Join(quoted[:n], ", ") + " or " + quoted[n]
	}
	return &Fault{kind, "Input should be " + text, ctx("expected", pyjson.StringOf(text))}
}

// TooShort is the fault of a text of less than n characters.
func TooShort(n int) *Fault { return length("string_too_short", "at least", "min_length", n) }

// TooLong is the fault of a text of more than n characters.
func TooLong(n int) *Fault { return length("string_too_long", "at most", "max_length", n) }

func length(kind, bound, key string, n int) *Fault {
	unit := " characters"
	if n == 1 {
		unit = " character"
	}
	return &Fault{kind, "String should have " + bound + " " + strconv.Itoa(n) + unit, ctx(key, pyjson.IntOf(int64(n)))}
}

// DataclassType is the fault of what is not an object where one of a dataclass
// is wanted; other models have [ModelType].
func DataclassType(class string) *Fault {
	return &Fault{"dataclass_type", "Input should be a dictionary or an instance of " + class, ctx("class_name", pyjson.StringOf(class))}
}

// Subclass is the fault of what is not a class of a class.
func Subclass(class string) *Fault {
	return &Fault{"is_subclass_of", "Input should be a subclass of " + class, ctx("class", pyjson.StringOf(class))}
}

// JSONInvalid is the answer to a body that is no JSON (recorded
// create_extra_and_malformed).
func JSONInvalid(e *pyjson.SyntaxError) *Invalid {
	f := &Fault{"json_invalid", "JSON decode error", ctx("error", pyjson.StringOf(e.Msg))}
	return f.Refuse(pyjson.ObjectOf(), "body", e.Offset)
}
