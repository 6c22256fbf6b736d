package api

import (
	"reflect"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/gen"
)

// Recorded is the version of OpenHands whose recorded answers are given,
// whatever the version of the contract.
const Recorded = event.Version

// Versions is "0.53.0", or "0.55.0 recorded=0.53.0" where the contract is of
// another version than the answers.
func Versions() string {
	if gen.Version == Recorded {
		return gen.Version
	}
	return gen.Version + " recorded=" + Recorded
}

// A Status says which operations are served, by the names of their Go methods.
type Status struct {
	Implemented   []string // of the contract's version; they have a handler
	Unimplemented []string // are answered by 501
	Later         []string // of a later version than the contract; they have a handler
	Orphaned      []string // have a handler, and no operation in the contract
}

// Operations counts those of the contract's version.
func (s Status) Operations() int { return len(s.Implemented) + len(s.Unimplemented) }

// ContractStatus tells by reflection what the handlers have.
func ContractStatus() Status {
	var s Status
	ours := sectionMethods()
	for _, op := range gen.Operations {
		switch {
		case !slices.Contains(ours, op.Name):
			s.Unimplemented = append(s.Unimplemented, op.Name)
		case op.Since != "":
			s.Later = append(s.Later, op.Name)
		default:
			s.Implemented = append(s.Implemented, op.Name)
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
