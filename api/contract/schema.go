package contract

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A schema is one schema of the contract in two forms: what reading a value
// needs (fields in their order, pydantic's words), and the 3.0 view, which
// decides.
type schema struct {
	name     string  // of the component; "" for an inline one
	ref      *schema // what it is the same as, but for nullable and opaque
	typ      string  // "" when nothing is said, or several
	nullable bool

	enum []string

	format string

	minLength, maxLength int // in characters; maxLength < 0 is none
	minItems, maxItems   int // of a list; maxItems < 0 is none
	bounds               []bound

	// union are the alternatives of an anyOf or oneOf, of which the first counts
	// that a value can be read as; with a kind, the one that the value's member
	// kind names.
	union []*schema
	kind  string

	model      bool // an object of named fields, not a map
	properties []property
	closed     bool    // no fields but properties
	rest       *schema // of a map's values, or of a model's further fields
	keys       *schema // of a map's keys

	items *schema

	// opaque: it has a keyword that reading has no words for. The value is
	// taken as it is, and the view alone judges it.
	opaque bool

	filled bool // the view is complete
	rules  *fastapi.Model
	view   *openapi3.Schema
}

// A bound is one that a number keeps to.
type bound struct {
	keyword string
	limit   pyjson.Value
}

// A property is a field of a model.
type property struct {
	name     string
	required bool
	rule     fastapi.Rule
	*schema
}

// target is the schema that s is the same as, and whether null passes, too.
func (s *schema) target() (*schema, bool) {
	nullable := s.nullable
	for s.ref != nil && !s.opaque {
		s = s.ref
		nullable = nullable || s.nullable
	}
	return s, nullable
}

// reference is how other schemas of the view refer to s.
func (s *schema) reference() *openapi3.SchemaRef {
	switch {
	case s.name != "":
		return &openapi3.SchemaRef{Ref: componentPrefix + s.name, Value: s.view}
	case s.ref != nil && !s.nullable:
		return s.ref.reference()
	}
	return &openapi3.SchemaRef{Value: s.view}
}

const componentPrefix = "#/components/schemas/"

// A converter turns the schemas of a 3.1 document into [schema].
type converter struct {
	rules       fastapi.Rules
	documents   map[string]pyjson.Value // the components as written
	components  map[string]*schema
	unvalidated []string // JSON pointers
}

// component is the one that $ref names. It is known before it is filled,
// since it may refer to itself.
func (c *converter) component(ref, at string) (*schema, error) {
	name, _ := strings.CutPrefix(ref, componentPrefix)
	if s := c.components[name]; s != nil {
		return s, nil
	}
	v, ok := c.documents[name]
	if !ok {
		return nil, fmt.Errorf("%s: no component %q", at, ref)
	}
	s := &schema{name: name, view: &openapi3.Schema{}}
	c.components[name] = s
	return s, c.fill(s, v, componentPrefix+escape(name))
}

// validatedAs has the schema that is loaded in the place of the one around it.
const validatedAs = "x-validated-as"

// convert makes the schema of v, which lies at the JSON pointer at.
func (c *converter) convert(v pyjson.Value, at string) (*schema, error) {
	s := &schema{view: &openapi3.Schema{}}
	return s, c.fill(s, v, at)
}

// escape makes a name a part of a JSON pointer.
func escape(name string) string { return pointerEscapes.Replace(name) }

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// annotations say nothing about which values are valid.
var annotations = []string{"title", "description", "default", "example", "examples", "deprecated", "readOnly",
	"$comment", "externalDocs", "xml", "contentMediaType", "contentEncoding"}

// refuseNull are the keywords without which a 3.1 schema takes null as it takes
// any other value. A 3.0 schema takes it only when it says nullable.
var refuseNull = []string{"$ref", "type", "enum", "const", "anyOf", "oneOf", "allOf"}

// fill gives s what v says.
func (c *converter) fill(s *schema, v pyjson.Value, at string) error {
	s.maxLength, s.maxItems = -1, -1
	s.rules = c.rules[s.name]
	if v.Kind() == pyjson.Bool {
		s.opaque, s.nullable, s.view.Nullable = true, v.Bool(), v.Bool()
		if !v.Bool() {
			s.view.Not = &openapi3.SchemaRef{Value: &openapi3.Schema{Nullable: true}}
		}
		return nil
	}
	if v.Kind() != pyjson.Object {
		return fmt.Errorf("%s: a schema is an object", at)
	}
	if as, ok := v.Get(validatedAs); ok {
		return c.fill(s, as, at+"/"+validatedAs)
	}
	said := 0
	s.nullable = !slices.ContainsFunc(v.Members(), func(m pyjson.Member) bool { return slices.Contains(refuseNull, m.Key) })
	for _, m := range v.Members() {
		if slices.Contains(annotations, m.Key) || strings.HasPrefix(m.Key, "x-") {
			continue
		}
		if m.Key != "discriminator" {
			said++
		}
		if err := c.keyword(s, m.Key, m.Value, at+"/"+escape(m.Key)); err != nil {
			return err
		}
	}
	s.opaque = s.opaque || s.ref != nil && said > 1 || s.union != nil && said > 1 || s.bounds != nil && s.typ != "integer" && s.typ != "number"
	c.join(s, at)
	s.filled = true
	return nil
}

// keyword gives s what one keyword says.
func (c *converter) keyword(s *schema, key string, v pyjson.Value, at string) (err error) {
	view := s.view
	switch key {
	case "$ref":
		s.ref, err = c.component(v.Text(), at)
	case "type":
		setTypes(s, v)
	case "nullable":
		s.nullable = v.Bool()
	case "enum":
		setEnum(s, v.Items())
	case "const":
		setEnum(s, []pyjson.Value{v})
	case "minLength":
		view.MinLength = *natural(v)
		s.minLength = int(view.MinLength)
	case "maxLength":
		view.MaxLength = natural(v)
		s.maxLength = int(*view.MaxLength)
	case "properties":
		err = c.setProperties(s, v, at)
	case "required":
		for _, name := range v.Items() {
			view.Required = append(view.Required, name.Text())
		}
	case "additionalProperties":
		if s.closed = v.Kind() == pyjson.Bool && !v.Bool(); !s.closed {
			s.rest, err = c.convert(v, at)
		}
	case "propertyNames":
		s.keys, err = c.convert(v, at)
	case "items":
		s.items, err = c.convert(v, at)
	case "anyOf", "oneOf", "allOf":
		err = c.combine(s, key, v, at)
	case "writeOnly":
		view.WriteOnly = v.Bool()
	case "format":
		s.format, view.Format = v.Text(), v.Text()
	case "minimum":
		view.Min = new(v.Float64())
		s.bounds = append(s.bounds, bound{key, v})
	case "exclusiveMinimum": // a number, as in 3.1: kin-openapi takes it in a view too
		view.ExclusiveMin.Value = new(v.Float64())
		s.bounds = append(s.bounds, bound{key, v})
	case "maximum":
		view.Max = new(v.Float64())
		s.bounds = append(s.bounds, bound{key, v})
	case "exclusiveMaximum":
		view.ExclusiveMax.Value = new(v.Float64())
		s.bounds = append(s.bounds, bound{key, v})
	case "minItems":
		view.MinItems = *natural(v)
		s.minItems = int(view.MinItems)
	case "maxItems":
		view.MaxItems = natural(v)
		s.maxItems = int(*view.MaxItems)
	case "discriminator":
		kind, _ := v.Get("propertyName")
		s.kind = kind.Text()
	default:
		err = c.opaqueKeyword(s, key, v, at)
	}
	return err
}

// opaqueKeyword gives the view what reading has no words for.
func (c *converter) opaqueKeyword(s *schema, key string, v pyjson.Value, at string) error {
	view, opaque := s.view, s.opaque
	s.opaque = true
	switch key {
	case "pattern":
		view.Pattern = v.Text()
	case "multipleOf":
		view.MultipleOf = new(v.Float64())
	case "uniqueItems":
		view.UniqueItems = v.Bool()
	case "minProperties":
		view.MinProps = *natural(v)
	case "maxProperties":
		view.MaxProps = natural(v)
	case "not":
		not, err := c.convert(v, at)
		if err != nil {
			return err
		}
		view.Not = not.reference()
	default:
		s.opaque = opaque
		c.unvalidated = append(c.unvalidated, at)
	}
	return nil
}

// setTypes reads `type`, one or an array.
func setTypes(s *schema, v pyjson.Value) {
	types := []pyjson.Value{v}
	if v.Kind() == pyjson.Array {
		types = v.Items()
	}
	s.view.Type = &openapi3.Types{}
	for _, t := range types {
		if t.Text() == "null" {
			s.nullable = true
			continue
		}
		s.typ = t.Text()
		*s.view.Type = append(*s.view.Type, s.typ)
	}
	switch len(*s.view.Type) {
	case 0: // null alone
		s.opaque, s.view.Type = true, nil
		s.view.Enum = []any{nil}
	case 1:
	default:
		s.opaque, s.typ = true, ""
	}
}

// setEnum reads the allowed values. Reading has words for texts only.
func setEnum(s *schema, values []pyjson.Value) {
	for _, v := range values {
		s.view.Enum = append(s.view.Enum, plain(v))
		s.enum = append(s.enum, v.Text())
		s.opaque = s.opaque || v.Kind() != pyjson.String
		s.nullable = s.nullable || v.IsNull()
	}
}

func (c *converter) setProperties(s *schema, v pyjson.Value, at string) error {
	s.model = true
	s.view.Properties = make(openapi3.Schemas, len(v.Members()))
	for _, m := range v.Members() {
		if s.rules != nil && slices.Contains(s.rules.Without, m.Key) {
			continue
		}
		of, err := c.convert(m.Value, at+"/"+escape(m.Key))
		if err != nil {
			return err
		}
		s.properties = append(s.properties, property{name: m.Key, rule: s.rules.Field(m.Key), schema: of})
	}
	return nil
}

// combine reads anyOf, oneOf and allOf. An alternative of null makes the rest
// nullable; one that is left alone is all there is.
func (c *converter) combine(s *schema, key string, v pyjson.Value, at string) error {
	var parts []*schema
	for i, alternative := range v.Items() {
		if t, _ := alternative.Get("type"); key != "allOf" && t.Text() == "null" {
			s.nullable = true
			continue
		}
		part, err := c.convert(alternative, at+"/"+strconv.Itoa(i))
		if err != nil {
			return err
		}
		parts = append(parts, part)
	}
	if len(parts) == 1 && s.ref == nil {
		s.ref = parts[0]
		return nil
	}
	if key == "allOf" || s.ref != nil {
		s.opaque = true
	} else {
		s.union = parts
	}
	refs := make(openapi3.SchemaRefs, len(parts))
	for i, part := range parts {
		refs[i] = part.reference()
	}
	switch key {
	case "anyOf":
		s.view.AnyOf = refs
	case "oneOf":
		s.view.OneOf = refs
	case "allOf":
		s.view.AllOf = append(s.view.AllOf, refs...)
	}
	return nil
}

// join gives the view what several keywords say together.
func (c *converter) join(s *schema, at string) {
	view := s.view
	if s.ref != nil && s.ref.filled && !s.opaque {
		*view = *s.ref.view // anyOf [T, null] is T, nullable
		s.nullable = s.nullable || view.Nullable
	} else if s.ref != nil {
		view.AllOf = append(view.AllOf, s.ref.reference())
	}
	view.Nullable = s.nullable
	if s.items == nil && s.typ == "array" {
		s.items = &schema{nullable: true, maxLength: -1, view: &openapi3.Schema{Nullable: true}}
	}
	if s.items != nil {
		view.Items = s.items.reference()
	}
	for i := range s.properties {
		p := &s.properties[i]
		p.required = slices.Contains(view.Required, p.name)
		view.Properties[p.name] = p.reference()
	}
	if s.rest != nil {
		view.AdditionalProperties.Schema = s.rest.reference()
	}
	if s.closed {
		view.AdditionalProperties.Has = new(bool)
	}
	if s.keys != nil {
		c.nameKeys(s, at+"/propertyNames")
	}
}

// nameKeys makes the keys that propertyNames lists the only properties.
func (c *converter) nameKeys(s *schema, at string) {
	keys, _ := s.keys.target()
	if s.model || keys.opaque || keys.enum == nil {
		s.keys = nil
		c.unvalidated = append(c.unvalidated, at)
		return
	}
	s.keys = keys
	value := &openapi3.SchemaRef{Value: &openapi3.Schema{Nullable: true}}
	if s.rest != nil {
		value = s.view.AdditionalProperties.Schema
	}
	s.view.Properties = make(openapi3.Schemas, len(keys.enum))
	for _, name := range keys.enum {
		s.view.Properties[name] = value
	}
	s.view.AdditionalProperties = openapi3.AdditionalProperties{Has: new(bool)}
}

// natural is a count.
func natural(v pyjson.Value) *uint64 {
	n := uint64(v.Float64())
	return &n
}
