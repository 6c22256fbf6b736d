package settings

import (
	"fmt"
	"math"
	"slices"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A Problem is one thing wrong with a body, in FastAPI's shape.
type Problem struct {
	Type  string        `json:"type"`
	Loc   []any         `json:"loc"` // "body", then keys and indices
	Msg   string        `json:"msg"`
	Input pyjson.Value  `json:"input"`
	Ctx   *pyjson.Value `json:"ctx,omitempty"`
}

// Invalid is a body that breaks a rule: every Problem, in the order of the
// model's fields. It is written as the body of a 422.
type Invalid struct {
	Problems []Problem `json:"detail"`
}

func (e *Invalid) Error() string {
	return fmt.Sprintf("%v: %s", e.Problems[0].Loc, e.Problems[0].Msg)
}

// root is the place of a whole body.
var root = []any{"body"}

// A checker collects the problems of one body.
type checker struct{ problems []Problem }

// openBody reads a body, which is a JSON object.
func openBody(body []byte) (*checker, pyjson.Value, error) {
	v, err := pyjson.Decode(body)
	if err != nil {
		return nil, v, fmt.Errorf("body: %w", err)
	}
	c := &checker{}
	v = c.object(v, root)
	return c, v, c.err()
}

func (c *checker) err() error {
	if c.problems == nil {
		return nil
	}
	return &Invalid{c.problems}
}

func (c *checker) fail(typ, msg string, input pyjson.Value, loc []any) pyjson.Value {
	c.problems = append(c.problems, Problem{Type: typ, Loc: loc, Msg: msg, Input: input})
	return pyjson.Value{}
}

// failValue is what a rule of OpenHands, not of a type, says.
func (c *checker) failValue(msg string, input pyjson.Value, loc []any) pyjson.Value {
	c.fail("value_error", "Value error, "+msg, input, loc)
	ctx := pyjson.ObjectOf(pyjson.Member{Key: "error", Value: pyjson.ObjectOf()})
	c.problems[len(c.problems)-1].Ctx = &ctx
	return pyjson.Value{}
}

// A check takes a value and its place and returns what the value becomes,
// null after a problem.
type check = func(c *checker, v pyjson.Value, loc []any) pyjson.Value

// optional checks a member of an object that may be left out or null.
func (c *checker) optional(object pyjson.Value, name string, check check, loc []any) pyjson.Value {
	v, _ := object.Get(name)
	if v.IsNull() {
		return v
	}
	return check(c, v, at(loc, name))
}

// required checks a member that must be there.
func (c *checker) required(object pyjson.Value, name string, check check, loc []any) pyjson.Value {
	v, ok := object.Get(name)
	if !ok {
		return c.fail("missing", "Field required", object, at(loc, name))
	}
	return check(c, v, at(loc, name))
}

// at is the place of an element.
func at(loc []any, key any) []any { return append(slices.Clip(loc), key) }

func (c *checker) object(v pyjson.Value, loc []any) pyjson.Value {
	if v.Kind() != pyjson.Object {
		return c.fail("model_attributes_type", "Input should be a valid dictionary or object to extract fields from", v, loc)
	}
	return v
}

func text(c *checker, v pyjson.Value, loc []any) pyjson.Value {
	if v.Kind() != pyjson.String {
		return c.fail("string_type", "Input should be a valid string", v, loc)
	}
	return v
}

func integer(c *checker, v pyjson.Value, loc []any) pyjson.Value {
	if v.Kind() != pyjson.Int {
		return c.fail("int_type", "Input should be a valid integer", v, loc)
	}
	return v
}

func boolean(c *checker, v pyjson.Value, loc []any) pyjson.Value {
	if v.Kind() != pyjson.Bool {
		return c.fail("bool_type", "Input should be a valid boolean", v, loc)
	}
	return v
}

// number makes a float; null of one that is not finite.
func number(c *checker, v pyjson.Value, loc []any) pyjson.Value {
	if v.Kind() != pyjson.Int && v.Kind() != pyjson.Float {
		return c.fail("float_type", "Input should be a valid number", v, loc)
	}
	f := v.Float64()
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return pyjson.Value{}
	}
	return pyjson.FloatOf(f)
}

func ignored(*checker, pyjson.Value, []any) pyjson.Value { return pyjson.Value{} }
