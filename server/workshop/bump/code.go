package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// code is what the module's source says, without compiling it.
type code struct {
	root     string
	handlers map[string]string  // methods of package api that serve an operation, by name => file:line
	uses     map[string][]place // names of package gen that other packages use
}

// A place is a line of a file, by its path below the module's root.
type place struct {
	file string
	line int
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// join writes places, those of one file as one: "api/user.go:37,52".
func join(places []place) []string {
	slices.SortFunc(places, func(a, b place) int { return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line)) })
	var all []string
	last := ""
	for _, p := range slices.Compact(places) {
		if p.file == last {
			all[len(all)-1] += fmt.Sprintf(",%d", p.line)
			continue
		}
		all, last = append(all, p.String()), p.file
	}
	return all
}

const (
	modulePath = "github.com/openhands-local/openhands-local"
	genPackage = modulePath + "/gen"
)

// readCode reads the source of a module.
func readCode(root string) (*code, error) {
	c := &code{root, map[string]string{}, map[string][]place{}}
	return c, filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		return c.read(name)
	})
}

func (c *code) read(name string) error {
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	short, err := filepath.Rel(c.root, name)
	if err != nil {
		return err
	}
	where := func(n ast.Node) place { return place{filepath.ToSlash(short), files.Position(n.Pos()).Line} }
	usesGen := slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"`+genPackage+`"` })
	isTest := strings.HasSuffix(name, "_test.go")
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if f.Name.Name == "api" && !isTest && servesOperation(n) {
				c.handlers[n.Name.Name] = where(n).String()
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && usesGen && x.Name == "gen" {
				c.uses[n.Sel.Name] = append(c.uses[n.Sel.Name], where(n))
			}
		}
		return true
	})
	return nil
}

// servesOperation tells a method that takes an echo.Context first and returns
// an error, as those of gen.ServerInterface.
func servesOperation(f *ast.FuncDecl) bool {
	if f.Recv == nil || !f.Name.IsExported() || len(f.Type.Params.List) == 0 || f.Type.Results == nil || len(f.Type.Results.List) != 1 {
		return false
	}
	return show(f.Type.Params.List[0].Type) == "echo.Context" && show(f.Type.Results.List[0].Type) == "error"
}

// show is a node as source.
func show(n any) string {
	var b bytes.Buffer
	_ = printer.Fprint(&b, token.NewFileSet(), n)
	return b.String()
}

// generated is what package gen declares.
type generated struct {
	methods map[string]string            // of ServerInterface => parameters, as a handler writes them
	types   map[string]map[string]string // name => part => source; the parts of a struct are its fields
	names   map[string][]string          // type => the types that it is made of
}

// readGenerated reads the file of types and routes.
func readGenerated(file string) (*generated, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	g := &generated{map[string]string{}, map[string]map[string]string{}, map[string][]string{}}
	for _, d := range f.Decls {
		d, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				g.addType(s)
			case *ast.ValueSpec:
				if t, ok := s.Type.(*ast.Ident); ok && d.Tok == token.CONST {
					for _, name := range s.Names {
						g.part(t.Name, name.Name, show(s.Values[0]))
					}
				}
			}
		}
	}
	return g, nil
}

func (g *generated) part(name, part, source string) {
	if g.types[name] == nil {
		g.types[name] = map[string]string{}
	}
	g.types[name][part] = source
}

func (g *generated) addType(s *ast.TypeSpec) {
	switch t := s.Type.(type) {
	case *ast.InterfaceType:
		if s.Name.Name == "ServerInterface" {
			for _, m := range t.Methods.List {
				g.methods[m.Names[0].Name] = parameters(m.Type.(*ast.FuncType))
			}
		}
	case *ast.StructType:
		g.part(s.Name.Name, "", "struct")
		for _, f := range t.Fields.List {
			name := show(f.Type)
			if len(f.Names) > 0 {
				name = f.Names[0].Name
			}
			g.part(s.Name.Name, name, show(f.Type))
			g.madeOf(s.Name.Name, f.Type)
		}
	default:
		g.part(s.Name.Name, "", show(t))
		g.madeOf(s.Name.Name, t)
	}
}

// madeOf notes the types that a type names.
func (g *generated) madeOf(name string, t ast.Expr) {
	ast.Inspect(t, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.IsExported() {
			g.names[name] = append(g.names[name], id.Name)
		}
		return true
	})
}

// parameters writes those of a method as a handler has them.
func parameters(f *ast.FuncType) string {
	var all []string
	for i, p := range f.Params.List {
		name, typ := p.Names[0].Name, show(p.Type)
		switch {
		case i == 0:
			name = "c"
		case name == "params":
			name, typ = "q", "gen."+typ
		}
		all = append(all, name+" "+typ)
	}
	return strings.Join(all, ", ")
}

// A changedType is a type of package gen that differs.
type changedType struct {
	name string
	what []string // + added, - removed, ~ changed
	used []string // places, by file
}

// changedTypes returns the types that differ and that code of ours uses, by
// name or within another, and the methods of handlers that have other
// parameters now.
func changedTypes(was, is *generated, c *code) []changedType {
	using := map[string][]place{}
	for _, name := range slices.Sorted(maps.Keys(c.uses)) {
		seen := map[string]bool{}
		var follow func(name string)
		follow = func(t string) {
			if seen[t] {
				return
			}
			seen[t] = true
			using[t] = append(using[t], c.uses[name]...)
			for _, inner := range was.names[t] {
				follow(inner)
			}
		}
		follow(name)
	}
	var all []changedType
	for _, name := range slices.Sorted(maps.Keys(was.methods)) {
		if now, ok := is.methods[name]; ok && now != was.methods[name] && c.handlers[name] != "" {
			all = append(all, changedType{"ServerInterface." + name, []string{"~ (" + was.methods[name] + ") → (" + now + ")"}, []string{c.handlers[name]}})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(was.types)) {
		used := using[name]
		if len(used) == 0 {
			for part := range was.types[name] { // a constant of the type
				used = append(used, using[part]...)
			}
		}
		if what := difference(was.types[name], is.types[name]); len(what) > 0 && len(used) > 0 {
			all = append(all, changedType{name, what, join(used)})
		}
	}
	return all
}

func difference(was, is map[string]string) []string {
	if is == nil {
		return []string{"- the whole type"}
	}
	var what []string
	for _, part := range slices.Sorted(maps.Keys(was)) {
		switch now, ok := is[part]; {
		case !ok:
			what = append(what, "- "+part)
		case now != was[part]:
			what = append(what, strings.TrimSpace("~ "+part+" "+was[part]+" → "+now))
		}
	}
	for _, part := range slices.Sorted(maps.Keys(is)) {
		if _, ok := was[part]; !ok {
			what = append(what, "+ "+part+" "+is[part])
		}
	}
	return what
}
