//go:build !linux

package lab

import (
	"context"
	"errors"
)

type stage struct{}

// Missing says what this machine lacks for a lab: it is not Linux.
func Missing() string { return "not Linux" }

// Scenarios returns nothing: a lab needs Linux.
func Scenarios() []Scenario { return nil }

func systems() []string { return nil }

func (s Scenario) perform(context.Context, string, *Truth) error { return errors.New(Missing()) }
