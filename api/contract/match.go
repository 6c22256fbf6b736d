package contract

import (
	"regexp"
	"slices"
	"strings"
)

// spanning is the parameter that spans slashes, and may be empty. The document
// cannot say so (recorded user_repo_paths).
const spanning = "repository_name"

// parameterText is a parameter in a template whose own text is quoted.
var parameterText = regexp.MustCompile(`\\\{([^}]*)\\\}`)

// A path is one of the document.
type path struct {
	prefix, suffix string         // before the first parameter, and after the last
	pattern        *regexp.Regexp // of the whole decoded path, a group for each parameter
	parameters     []string       // names, in the order of the groups
	operations     []*Operation
}

func newPath(template string) *path {
	p := &path{}
	p.prefix, _, _ = strings.Cut(template, "{")
	p.suffix = template[max(strings.LastIndex(template, "}")+1, len(p.prefix)):]
	text := parameterText.ReplaceAllStringFunc(regexp.QuoteMeta(template), func(text string) string {
		name := parameterText.FindStringSubmatch(text)[1]
		p.parameters = append(p.parameters, name)
		if name == spanning {
			return "(.*)"
		}
		return "([^/]+)"
	})
	p.pattern = regexp.MustCompile("^(?s:" + text + ")$")
	return p
}

// match returns the parameters of a decoded path, nil for a path that p is not.
func (p *path) match(path string) map[string]string {
	middle, ok := strings.CutPrefix(path, p.prefix)
	if ok {
		middle, ok = strings.CutSuffix(middle, p.suffix)
	}
	switch {
	case !ok:
		return nil
	case len(p.parameters) == 1: // as nearly always: without the pattern, which takes longer
		if p.parameters[0] != spanning && (middle == "" || strings.Contains(middle, "/")) {
			return nil
		}
		return map[string]string{p.parameters[0]: middle}
	}
	values := p.pattern.FindStringSubmatch(path)
	if values == nil {
		return nil
	}
	params := make(map[string]string, len(p.parameters))
	for i, name := range p.parameters {
		params[name] = values[i+1]
	}
	return params
}

// arrange groups operations by their paths: in the order of the document, but
// that one with fewer parameters comes before another that matches it too.
func arrange(operations []*Operation) []*path {
	byTemplate := map[string]*path{}
	var paths []*path
	for _, op := range operations {
		p := byTemplate[op.Path]
		if p == nil {
			p = newPath(op.Path)
			byTemplate[op.Path] = p
			paths = append(paths, p)
		}
		p.operations = append(p.operations, op)
	}
	slices.SortStableFunc(paths, func(a, b *path) int { return len(a.parameters) - len(b.parameters) })
	return paths
}

// Match finds the operation of a method and a decoded path without its query,
// and the values of the path's parameters; nil when there is none. As on the
// real server a parameter is one segment, which is not empty; the one that is
// named repository_name spans slashes.
func (c *Contract) Match(method, path string) (op *Operation, params map[string]string) {
	for _, p := range c.paths {
		i := slices.IndexFunc(p.operations, func(op *Operation) bool { return op.Method == method })
		if i < 0 {
			continue
		}
		if params := p.match(path); params != nil {
			return p.operations[i], params
		}
	}
	return nil, nil
}

// At returns the operations of a decoded path, one for each of its methods, in
// the order of the document; none for an unknown path.
func (c *Contract) At(path string) []*Operation {
	for _, p := range c.paths {
		if p.match(path) != nil {
			return slices.Clone(p.operations)
		}
	}
	return nil
}
