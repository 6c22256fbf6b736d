package api

import (
	"reflect"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/gen"
)

// A Status says which operations of the contract are served, by the names of
// their Go methods.
type Status struct {
	Implemented   []string // have a handler
	Unimplemented []string // are answered by 501
	Orphaned      []string // have a handler, and no operation in the contract
}

// ContractStatus tells by reflection what the handlers have.
func ContractStatus() Status {
	var s Status
	ours := sectionMethods()
	for _, op := range gen.Operations {
		if slices.Contains(ours, op.Name) {
			s.Implemented = append(s.Implemented, op.Name)
		} else {
			s.Unimplemented = append(s.Unimplemented, op.Name)
		}
	}
	for _, name := range ours {
		if !slices.ContainsFunc(gen.Operations, func(op gen.Operation) bool { return op.Name == name }) {
			s.Orphaned = append(s.Orphaned, name)
		}
	}
	return s
}

// sectionMethods are the handlers that the sections of handlers have: methods
// that take an echo.Context first and return an error.
func sectionMethods() []string {
	var names []string
	all := reflect.TypeFor[handlers]()
	for i := range all.NumField() {
		section := all.Field(i).Type
		if section == reflect.TypeFor[fallback]() {
			continue
		}
		for j := range section.NumMethod() {
			m := section.Method(j)
			if m.Type.NumIn() > 1 && m.Type.In(1) == reflect.TypeFor[echo.Context]() && m.Type.NumOut() == 1 {
				names = append(names, m.Name)
			}
		}
	}
	return names
}
