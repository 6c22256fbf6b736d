package event

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// Around a literal of arguments in the deprecated translated_ipython_code.
const (
	editorBefore = "print(file_editor(**"
	editorAfter  = "))"
)

// deprecatedArgs turns the args of older clients into today's, in upstream's
// order.
func (d *decoding) deprecatedArgs(members []pyjson.Member) []pyjson.Member {
	old := func(m pyjson.Member) bool {
		switch m.Key {
		case "timestamp", "is_confirmed", "images_urls", "keep_prompt", "task_completed", "translated_ipython_code":
			return true
		}
		return false
	}
	if !slices.ContainsFunc(members, old) {
		return members
	}
	args := slices.Clone(members)
	take := func(name string) (pyjson.Value, bool) {
		i := slices.IndexFunc(args, func(m pyjson.Member) bool { return m.Key == name })
		if i < 0 {
			return pyjson.Value{}, false
		}
		v := args[i].Value
		args = slices.Delete(args, i, i+1)
		return v, true
	}
	take("timestamp")
	if v, ok := take("is_confirmed"); ok && !v.IsNull() {
		args = setMember(args, "confirmation_state", v)
	}
	if v, ok := take("images_urls"); ok {
		args = setMember(args, "image_urls", v)
	}
	take("keep_prompt")
	take("task_completed")
	code, ok := take("translated_ipython_code")
	if !ok {
		return args
	}
	switch {
	case code.Kind() == pyjson.String:
		inner, before := strings.CutPrefix(code.Text(), editorBefore)
		inner, after := strings.CutSuffix(inner, editorAfter)
		if !before || !after {
			break
		}
		literal, err := pyjson.DecodeLiteral(inner)
		switch {
		case err == pyjson.ErrNotJSON:
			d.fail("value_error", code, "The arguments in it are none that JSON has", "args", "translated_ipython_code")
		case err != nil:
		case literal.Kind() == pyjson.String: // no pairs: upstream ignores what it cannot read
		case literal.Unservable() != nil:
			d.fail("value_error", code, "The arguments in it have "+literal.Unservable().What+", which no JSON answer can carry", "args", "translated_ipython_code")
		default:
			pairs, ok := pairsOf(literal)
			if !ok {
				d.fail("dict_type", code, "The arguments in it should be a dictionary", "args", "translated_ipython_code")
			}
			args = merge(args, pairs)
		}
	case !code.IsNull():
		d.refuse(fastapi.StringType, code, "args", "translated_ipython_code")
	}
	if v, ok := pyjson.ObjectOf(args...).Get("command"); ok && v.Kind() == pyjson.String && v.Text() == "view" {
		take("command")
	}
	return args
}

// pairsOf reads a dictionary, or a list of pairs as Python's dict.update does: up
// to the first item of another length. ok is false where it has a TypeError.
func pairsOf(v pyjson.Value) (pairs []pyjson.Member, ok bool) {
	if v.Kind() == pyjson.Object {
		return v.Members(), true
	}
	for _, item := range v.Items() {
		pair := item.Items()
		switch {
		case item.Kind() == pyjson.Array && len(pair) == 2 && pair[0].Kind() == pyjson.String:
			pairs = append(pairs, pyjson.Member{Key: pair[0].Text(), Value: pair[1]})
		case item.Kind() == pyjson.Array && len(pair) != 2, item.Kind() == pyjson.String && utf8.RuneCountInString(item.Text()) != 2:
			return pairs, true
		default:
			return nil, false
		}
	}
	return pairs, v.Kind() == pyjson.Array
}

// merge sets members over others.
func merge(members, over []pyjson.Member) []pyjson.Member {
	var merged pyjson.Builder
	for _, m := range slices.Concat(members, over) {
		merged.Set(m.Key, m.Value)
	}
	return merged.Object().Members()
}

func setMember(members []pyjson.Member, name string, v pyjson.Value) []pyjson.Member {
	if i := slices.IndexFunc(members, func(m pyjson.Member) bool { return m.Key == name }); i >= 0 {
		members[i].Value = v
		return members
	}
	return append(members, pyjson.Member{Key: name, Value: v})
}

// deprecatedExtras moves what older clients told of a command into its
// metadata.
func deprecatedExtras(members []pyjson.Member) []pyjson.Member {
	moved := map[string]string{"exit_code": "exit_code", "command_id": "pid"}
	if !slices.ContainsFunc(members, func(m pyjson.Member) bool {
		return moved[m.Key] != "" || m.Key == "formatted_output_and_error"
	}) {
		return members
	}
	extras := make([]pyjson.Member, 0, len(members))
	var metadata []pyjson.Member
	has := false
	for _, m := range members {
		if m.Key == "metadata" {
			if m.Value.Kind() != pyjson.Object && !m.Value.IsNull() {
				moved = map[string]string{} // nothing can be moved there
			}
			metadata = slices.Clone(m.Value.Members())
		}
	}
	for _, name := range []string{"exit_code", "command_id"} {
		if moved[name] == "" {
			break
		}
		if i := slices.IndexFunc(members, func(m pyjson.Member) bool { return m.Key == name }); i >= 0 {
			metadata = setMember(metadata, moved[name], members[i].Value)
			has = true
		}
	}
	for _, m := range members {
		if moved[m.Key] == "" && m.Key != "exit_code" && m.Key != "command_id" && m.Key != "formatted_output_and_error" && (m.Key != "metadata" || !has) {
			extras = append(extras, m)
		}
	}
	if has {
		extras = append(extras, pyjson.Member{Key: "metadata", Value: pyjson.ObjectOf(metadata...)})
	}
	return extras
}
