package document

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// name gives operations their Go names, no two the same, by a rule that does
// not depend on their order:
//
//  1. An operation that the current contract has keeps its name.
//  2. Any other has the name of its function, while nothing else has it.
//  3. Of namesakes that are all new, the one whose path has the fewest words
//     has it. Each of the others takes the words of its path that not all of
//     them have: SearchEvents of /api/v1/events/search is SearchEventsV1 beside
//     that of /api/conversations/{conversation_id}/events. Where these do not
//     tell them apart it takes all words of its path, then its method too, and
//     last a number.
func (d *Document) name(operations []Operation) {
	byPath := make([]*Operation, len(operations))
	for i := range operations {
		byPath[i] = &operations[i]
	}
	slices.SortFunc(byPath, func(a, b *Operation) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method)) })

	taken := map[string]*Operation{} // by name in lower case, so that no two differ in case alone
	take := func(o *Operation, name string) bool {
		key := strings.ToLower(name)
		if name == "" || taken[key] != nil {
			return false
		}
		o.GoName, taken[key] = name, o
		return true
	}
	var rest []*Operation
	for _, o := range byPath {
		if !take(o, d.Names[o.String()]) {
			rest = append(rest, o)
		}
	}
	namesakes := map[string][]*Operation{}
	for _, o := range rest {
		key := strings.ToLower(o.Function())
		namesakes[key] = append(namesakes[key], o)
	}
	for _, all := range namesakes {
		slices.SortStableFunc(all, func(a, b *Operation) int { return cmp.Compare(len(pathWords(a.Path)), len(pathWords(b.Path))) })
		take(all[0], all[0].Function())
	}
	for _, key := range slices.Sorted(maps.Keys(namesakes)) {
		rivals := namesakes[key]
		if holder := taken[key]; holder != nil && !slices.Contains(rivals, holder) {
			rivals = append(slices.Clone(rivals), holder)
		}
		unnamed := slices.DeleteFunc(slices.Clone(rivals), func(o *Operation) bool { return o.GoName != "" })
		if key != "" && len(unnamed) > 0 {
			tellApart(unnamed, rivals, take, taken)
		}
	}
}

// tellApart names operations whose functions have the same name. rivals are
// they, and the one that has the name.
func tellApart(operations, rivals []*Operation, take func(*Operation, string) bool, taken map[string]*Operation) {
	some := func(o *Operation) string {
		words := slices.DeleteFunc(pathWords(o.Path), func(word string) bool {
			return !slices.ContainsFunc(rivals, func(r *Operation) bool { return !slices.Contains(pathWords(r.Path), word) })
		})
		inName := camelCaseParts.FindAllString(o.Function(), -1)
		further := slices.DeleteFunc(slices.Clone(words), func(word string) bool {
			return slices.ContainsFunc(inName, func(part string) bool { return strings.EqualFold(part, word) })
		})
		return cmp.Or(strings.Join(further, "_"), strings.Join(words, "_"))
	}
	all := func(o *Operation) string { return strings.Join(pathWords(o.Path), "_") }
	withMethod := func(o *Operation) string { return all(o) + "_" + strings.ToLower(o.Method) }
	for _, words := range []func(*Operation) string{some, all, withMethod} {
		names := map[string]bool{}
		for _, o := range operations {
			key := strings.ToLower(camelCase(o.Function() + "_" + words(o)))
			if taken[key] == nil {
				names[key] = true
			}
		}
		if len(names) == len(operations) {
			for _, o := range operations {
				take(o, camelCase(o.Function()+"_"+words(o)))
			}
			return
		}
	}
	for _, o := range operations {
		for i := 1; !take(o, camelCase(fmt.Sprintf("%s_%s_%d", o.Function(), withMethod(o), i))); i++ {
		}
	}
}

var nonWord = regexp.MustCompile(`\W`)

// idSuffix is what FastAPI puts behind the name of a function to make an
// operationId: add_event_api_conversations__conversation_id__events_post
// is that of add_event at POST /api/conversations/{conversation_id}/events.
func (o Operation) idSuffix() string {
	return nonWord.ReplaceAllString(o.Path, "_") + "_" + strings.ToLower(o.Method)
}

// Function is the name of an operation's function, in camel case. An
// operationId that FastAPI did not make keeps all its words.
func (o Operation) Function() string {
	return camelCase(cmp.Or(strings.TrimSuffix(o.ID, o.idSuffix()), o.ID))
}

// pathWords are the words of a path, each once.
func pathWords(path string) []string {
	var words []string
	for word := range strings.FieldsFuncSeq(path, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return words
}

var (
	camelCaseParts = regexp.MustCompile(`[\p{Lu}\d]+([\p{Ll}\d]+|$)`)
	initialisms    = strings.Fields("ACL API ASCII CPU CSS DNS EOF GUID HTML HTTP HTTPS ID IP JSON QPS RAM RPC SLA SMTP SQL SSH TCP TLS TTL UDP UI GID UID UUID URI URL UTF8 VM XML XMPP XSRF XSS SIP RTP AMQP DB TS")
)

// camelCase writes words as oapi-codegen's normalizer of names does, so that
// it leaves the names as they are: get_vscode_url is GetVscodeURL.
func camelCase(words string) string {
	var b strings.Builder
	capital := true
	for _, r := range words {
		switch {
		case unicode.IsDigit(r), unicode.IsUpper(r):
			capital = unicode.IsDigit(r)
		case !unicode.IsLower(r):
			capital = true
			continue
		case capital:
			r, capital = unicode.ToUpper(r), false
		}
		b.WriteRune(r)
	}
	return camelCaseParts.ReplaceAllStringFunc(b.String(), func(part string) string {
		if upper := strings.ToUpper(part); slices.Contains(initialisms, upper) {
			return upper
		}
		return part
	})
}

// Numbered is a text that is not among those there are: text, text_2, text_3.
func Numbered(text string, there func(string) bool) string {
	one := text
	for i := 2; there(one); i++ {
		one = text + "_" + strconv.Itoa(i)
	}
	return one
}
