// Package facts holds numbers with their sources: keepalive defaults of
// systems and programs, idle timeouts of devices, heartbeats of applications
// and the lines that change them; and the timer arithmetic that turns what
// was seen on the wire into the values somebody configured. It answers "which
// known thing behaves like this, says who, and what would one type to change
// it".
//
// The tables are composite literals made from internal/factsgen/data by
//
//	go generate ./facts
//
// and cost nothing at start-up. Functions return copies of the tables; the
// slices inside the rows are shared and must not be written to.
package facts

//go:generate go run ../internal/factsgen -data ../internal/factsgen/data -o tables_gen.go
