//go:build !linux

package lab

import (
	"context"
	"errors"
	"time"
)

type stage struct{}

// Missing says what this machine lacks for a lab: it is not Linux.
func Missing() string { return "not Linux" }

// Scenarios returns nothing: a lab needs Linux.
func Scenarios() []Scenario { return nil }

// BeforeAdvice returns nothing: a lab needs Linux.
func BeforeAdvice() Scenario { return Scenario{} }

// AfterAdvice returns nothing: a lab needs Linux.
func AfterAdvice(time.Duration, time.Duration, int) Scenario { return Scenario{} }

func systems() []string { return nil }

func (s Scenario) perform(context.Context, string, *Truth) error { return errors.New(Missing()) }
